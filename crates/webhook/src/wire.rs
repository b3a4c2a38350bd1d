//! The socket below TLS and HTTP: received bytes are charged, reads wait while the memory
//! is used up, and unread writes are noticed.

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

use crate::{
    activity::Activity,
    memory::{Memory, Purpose},
};

/// Size of one read from a socket: a whole TLS record (16 KiB and what is
/// around it). rustls would take it in pieces of 4 KiB, each a system call.
const READ_AHEAD: usize = 17 * 1024;

thread_local! {
    /// The buffer of all reads of a thread. Idle connections keep none.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_AHEAD]);
}

type Room = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A socket whose bytes are charged to its connection.
pub(crate) struct Wire {
    stream: TcpStream,
    activity: Arc<Activity>,
    memory: Arc<Memory>,
    /// Bytes that were read and not handed out.
    ahead: Bytes,
    /// The wait for memory, if there is one.
    room: Option<Room>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream, activity: Arc<Activity>, memory: Arc<Memory>) -> Self {
        Self { stream, activity, memory, ahead: Bytes::new(), room: None }
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.room.is_none() {
            if self.memory.has_room(Purpose::Input) {
                return Poll::Ready(());
            }
            let memory = Arc::clone(&self.memory);
            self.room = Some(Box::pin(async move { memory.room(Purpose::Input).await }));
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
                Poll::Ready(io::Result::Ok(bytes.len()))
            });
            let bytes = ready!(read)?;
            if bytes > 0 {
                this.activity.received(bytes);
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
