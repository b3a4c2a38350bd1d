//! What a client may take: time, bytes, places.

use std::time::Duration;

/// Bodies up to this many bytes are read and answered without ceremony.
///
/// A pod with its old version and managed fields is some 10 to 30 KiB. One of
/// 128 KiB takes a tenth of a millisecond to admit, which may still stand in
/// the way of other connections; a larger one goes to a thread of its own.
pub(crate) const COMMON_BODY: usize = 128 * 1024;
/// How many requests are read or answered at once; the rest wait their turn.
/// With [`COMMON_BODY`] this bounds what common bodies hold to 32 MiB.
pub(crate) const REQUESTS: usize = 256;
/// How many of them may be larger than [`COMMON_BODY`]: at the default
/// [`Limits::body_bytes`] they hold 64 MiB at most.
pub(crate) const LARGE_REQUESTS: usize = 8;

/// Limits on what one client, and all of them together, may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at once. Beyond it one that had no request, or has been idle
    /// longest, has to make room for a new one.
    pub connections: u32,
    /// HTTP/2 requests at once on one connection.
    pub streams: u32,
    /// Time for the TLS handshake.
    pub handshake: Duration,
    /// Time from the first byte of a request to the end of its headers.
    pub header: Duration,
    /// Time from the headers to the end of the body, waiting for a place included.
    pub body: Duration,
    /// Time that a connection may stay without a request. API servers drop
    /// theirs after 90 s (Go's `IdleConnTimeout`): it should be they who close,
    /// since a request may be under way when we do.
    pub idle: Duration,
    /// Time that a connection which has just become idle is left alone: the next
    /// request may be on its way. For so long it does not have to make room, and
    /// is still answered on when the server is leaving (over HTTP/1.1, which
    /// cannot tell a client to send no more).
    pub linger: Duration,
    /// Time that a client without a request in flight has to leave when the server
    /// does. One that lives takes a moment: HTTP/1.1 connections are closed without
    /// asking, and HTTP/2 waits for the answer to a ping.
    pub farewell: Duration,
    /// Bytes of a request's headers.
    pub header_bytes: u32,
    /// Bytes of a request's body. API servers take objects up to 3 MiB, and a
    /// review of an update holds two.
    pub body_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            streams: 100,
            handshake: Duration::from_secs(5),
            header: Duration::from_secs(10),
            body: Duration::from_secs(10),
            idle: Duration::from_mins(2),
            linger: Duration::from_secs(1),
            farewell: Duration::from_secs(5),
            header_bytes: 16 * 1024,
            body_bytes: 8 * 1024 * 1024,
        }
    }
}
