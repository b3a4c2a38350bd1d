//! The socket below TLS and HTTP. Received bytes are charged, reads wait while the memory is used
//! up, and unread writes are recorded.

use std::{
    cell::RefCell,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::{activity::Activity, memory::Purpose};

/// Size of one read from a socket: a TLS record of 16 KiB with its overhead. rustls would read it
/// in pieces of 4 KiB, each with a system call.
const READ_AHEAD: usize = 17 * 1024;

thread_local! {
    /// Buffer of all reads of a thread. Idle connections need no buffer.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_AHEAD]);
}

type Room = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Size of the header of a TLS record: type, version, length.
const RECORD_HEADER: usize = 5;

/// The boundaries of TLS records in a stream.
#[derive(Debug, Default)]
struct Records {
    header: [u8; RECORD_HEADER],
    /// Received bytes of the last record; 0 if it is complete.
    incomplete: usize,
    /// Missing bytes of the last record's content.
    left: usize,
}

impl Records {
    fn advance(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = if self.left > 0 {
                let taken = self.left.min(bytes.len());
                self.left -= taken;
                taken
            } else {
                let header = self.header.get_mut(self.incomplete..).unwrap_or_default();
                let taken = header.len().min(bytes.len());
                for (to, from) in header.iter_mut().zip(bytes) {
                    *to = *from;
                }
                if taken == header.len() {
                    let [_, _, _, high, low] = self.header;
                    self.left = usize::from(u16::from_be_bytes([high, low]));
                }
                taken
            };
            self.incomplete += taken;
            if self.incomplete >= RECORD_HEADER && self.left == 0 {
                self.incomplete = 0;
            }
            bytes = bytes.get(taken..).unwrap_or_default();
        }
    }
}

/// A socket that charges received bytes to its connection.
pub(crate) struct Wire {
    stream: TcpStream,
    activity: Arc<Activity>,
    /// TLS records of the received bytes; `None` on a plain port.
    records: Option<Records>,
    /// Received bytes that the reader has not taken yet.
    ahead: Bytes,
    /// Wait for memory; `None` if there is room.
    room: Option<Room>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream, activity: Arc<Activity>, is_tls: bool) -> Self {
        let records = is_tls.then(Records::default);
        Self { stream, activity, records, ahead: Bytes::new(), room: None }
    }

    /// Waits until the client has sent bytes.
    pub(crate) async fn readable(&mut self) -> io::Result<()> {
        self.stream.readable().await
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.room.is_none() {
            if self.activity.memory.has_room(Purpose::Input) && !self.activity.is_paused() {
                return Poll::Ready(());
            }
            let activity = Arc::clone(&self.activity);
            self.room = Some(Box::pin(async move {
                activity.resumed().await;
                activity.memory.room(Purpose::Input).await;
            }));
        }
        if let Some(room) = &mut self.room {
            ready!(room.as_mut().poll(cx));
        }
        self.room = None;
        Poll::Ready(())
    }

    fn hand_out(&mut self, buf: &mut ReadBuf<'_>) {
        let length = self.ahead.len().min(buf.remaining());
        buf.put_slice(self.ahead.get(..length).unwrap_or_default());
        self.ahead.advance(length);
        if self.ahead.is_empty() {
            self.ahead = Bytes::new();
        }
        self.seal();
    }

    /// Records the number of bytes that TLS has not taken, or cannot decrypt yet.
    fn seal(&self) {
        if let Some(records) = &self.records {
            self.activity.seal(self.ahead.len() + records.incomplete);
        }
    }

    fn wrote(&self, polled: &Poll<io::Result<usize>>, offered: usize) {
        match polled {
            Poll::Ready(Ok(taken)) => self.activity.written(*taken == offered),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.activity.written(false),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.ahead.is_empty() {
            ready!(this.poll_room(cx));
            let read = BUFFER.with_borrow_mut(|buffer| {
                let mut read = ReadBuf::new(buffer);
                ready!(Pin::new(&mut this.stream).poll_read(cx, &mut read))?;
                let bytes = read.filled();
                let (now, later) = bytes.split_at(bytes.len().min(buf.remaining()));
                buf.put_slice(now);
                if !later.is_empty() {
                    this.ahead = Bytes::copy_from_slice(later);
                }
                if let Some(records) = &mut this.records {
                    records.advance(bytes);
                }
                Poll::Ready(io::Result::Ok(bytes.len()))
            });
            let bytes = ready!(read)?;
            if bytes > 0 {
                this.activity.received(bytes);
                this.seal();
            }
        } else {
            this.hand_out(buf);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(&polled, buf.len());
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(&polled, bufs.iter().map(|buf| buf.len()).sum());
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incomplete_records_are_counted_in_any_split() {
        let records = [&[23, 3, 3, 0, 3, 1, 2, 3][..], &[21, 3, 3, 0, 0], &[23, 3, 3, 1, 0]];
        let bytes = [&records.concat()[..], &[0; 200]].concat();
        for size in [1, 2, 3, 7, 100, 1000] {
            let mut records = Records::default();
            for piece in bytes.chunks(size) {
                records.advance(piece);
            }
            assert_eq!((records.incomplete, records.left), (205, 56), "{size}");
            records.advance(&[0; 56]);
            assert_eq!((records.incomplete, records.left), (0, 0), "{size}");
        }
    }
}
