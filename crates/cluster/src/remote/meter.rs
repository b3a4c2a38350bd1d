//! The limit of what a server sends over one connection, requested or not.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Instant,
};

/// Number of longest responses that a server may send at once.
const BURST: usize = 16;
/// Seconds in which a server may send the bytes of one longest response again.
const REFILL: u64 = 16;

/// TCP connection that ends if the server sends too much. Frames of HTTP/2 that carry no response,
/// as PING and SETTINGS, have no other limit.
pub(super) struct MeteredStream {
    tcp: TcpStream,
    allowance: ReadAllowance,
}

impl MeteredStream {
    /// Returns the connection `tcp` to a server whose longest response has `response` bytes.
    pub(super) fn new(tcp: TcpStream, response: usize) -> Self {
        Self { tcp, allowance: ReadAllowance::new(response, Instant::now()) }
    }
}

impl AsyncRead for MeteredStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.tcp).poll_read(context, buffer))?;
        let read = buffer.filled().len() - before;
        Poll::Ready(self.allowance.take(read, Instant::now))
    }
}

impl AsyncWrite for MeteredStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}

/// Bytes that a server may send.
struct ReadAllowance {
    /// Bytes of the longest response.
    response: usize,
    left: usize,
    /// Time of the last refill.
    since: Instant,
}

impl ReadAllowance {
    fn new(response: usize, now: Instant) -> Self {
        Self { response, left: response.saturating_mul(BURST), since: now }
    }

    /// Takes `read` bytes. Calls `now` only if the bytes left are too few.
    ///
    /// # Errors
    /// The server has sent too much.
    fn take(&mut self, read: usize, now: impl FnOnce() -> Instant) -> io::Result<()> {
        if self.left < read {
            self.refill(now());
        }
        let left = self.left.checked_sub(read);
        self.left = left.ok_or_else(|| io::Error::other("the server sends too much"))?;
        Ok(())
    }

    /// Adds the bytes for the time since the last refill.
    fn refill(&mut self, now: Instant) {
        let refills = now.duration_since(self.since).as_secs() / REFILL;
        if refills > 0 {
            let refill = self.response.saturating_mul(usize::try_from(refills).unwrap_or(BURST));
            self.left = self.left.saturating_add(refill).min(self.response.saturating_mul(BURST));
            self.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn server_that_sends_too_much_is_cut() {
        let begun = Instant::now();
        let mut allowance = ReadAllowance::new(10, begun);
        for _ in 0..BURST {
            allowance.take(10, || begun).unwrap();
        }
        assert!(allowance.take(1, || begun).is_err());
    }

    #[test]
    fn allowance_returns_with_time() {
        let begun = Instant::now();
        let mut allowance = ReadAllowance::new(10, begun);
        allowance.take(10 * BURST, || begun).unwrap();
        let later = begun + Duration::from_secs(REFILL);
        allowance.take(10, || later).unwrap();
        assert!(allowance.take(1, || later).is_err());
        // The rest of a pause is lost, and a long one fills the allowance once.
        let latest = later + Duration::from_hours(1);
        allowance.take(10 * BURST, || latest).unwrap();
        assert!(allowance.take(1, || latest).is_err());
    }
}
