//! The socket of a connection, with what passes through it observed.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::{activity::Activity, place::Place};

/// Bytes that are read from a socket at once: a whole TLS record (16 KiB and what is
/// around it). rustls would take it in pieces of 4 KiB, each a system call.
const READ_AHEAD: usize = 17 * 1024;

/// A socket that counts what comes, and knows when its client does not read.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    /// Bytes that were read ahead; without memory while there are none.
    ahead: BytesMut,
    place: Arc<Place>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream, place: Arc<Place>) -> Self {
        Self { stream, ahead: BytesMut::new(), place }
    }

    fn observe<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.place.written(polled.is_ready());
        polled
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        while wire.ahead.is_empty() {
            if wire.stream.poll_read_ready(cx)?.is_pending() {
                wire.ahead = BytesMut::new();
                wire.place.wait_for_input();
                return Poll::Pending;
            }
            wire.ahead.reserve(READ_AHEAD);
            match wire.stream.try_read_buf(&mut wire.ahead) {
                Ok(0) => return Poll::Ready(Ok(())),
                Ok(count) => wire.place.activity.received(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        let count = wire.ahead.len().min(buf.remaining());
        buf.put_slice(wire.ahead.get(..count).unwrap_or_default());
        wire.ahead.advance(count);
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
        self.observe(polled)
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
        self.observe(polled)
    }
}

/// A stream that reports to an [`Activity`] when bytes of requests come.
///
/// For HTTP/1.1 alone, where bytes outside a request begin the next one.
#[derive(Debug)]
pub(crate) struct Observed<S> {
    /// The stream.
    pub(crate) stream: S,
    /// The record that it reports to.
    pub(crate) activity: Arc<Activity>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Observed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        if buf.filled().len() > before {
            self.activity.read();
        }
        Poll::Ready(polled)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Observed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
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
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}
