//! Limits on what clients may use: time, bytes, connections.

use std::time::Duration;

/// Bytes of a body up to which the review is computed on the thread that serves
/// connections.
///
/// A pod with its old version and managed fields has some 10 to 30 KiB, and takes
/// some microseconds. A hostile body of this size takes a millisecond. A larger
/// body goes to a thread of its own.
pub(crate) const COMMON_BODY: usize = 64 * 1024;
/// Reviews of larger bodies that are computed at once.
pub(crate) const LARGE_REVIEWS: usize = 2;

/// Limits on what one client, and all of them together, may use.
///
/// Memory is the scarce resource. [`Self::memory`] and [`Self::large_memory`]
/// bound it for all clients together, [`Self::connections`] and
/// [`Self::streams`] bound the bookkeeping around it. A process without
/// connections takes some 10 MiB; with both budgets used up, and two reviews of
/// large bodies being computed, it stays below 64 MiB.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes that connections, bodies up to 64 KiB and unread answers hold
    /// together. Beyond it unfinished work gives way.
    pub memory: usize,
    /// Bytes that bodies larger than 64 KiB hold together. Beyond it unfinished
    /// bodies give way, and the next one waits.
    pub large_memory: usize,
    /// Connections at once. Beyond it unfinished work, or the connection that has
    /// been idle longest, gives way.
    pub connections: u32,
    /// HTTP/2 requests at once on one connection.
    pub streams: u32,
    /// Time for the TLS handshake.
    pub handshake: Duration,
    /// Time from the first byte of a request to the end of its headers.
    pub header: Duration,
    /// Time from the headers to the end of the body.
    pub body: Duration,
    /// Time in which a client has to read an answer, and without which no write to
    /// it may make progress.
    pub write: Duration,
    /// Time that a connection may stay without a request. API servers drop
    /// theirs after 90 s (Go's `IdleConnTimeout`): it should be they who close,
    /// since a request may be under way when the server does.
    pub idle: Duration,
    /// Time for which a connection that has just become idle is kept: the next
    /// request may be on its way. For so long it does not have to make room, and
    /// is still answered on when the server is leaving (over HTTP/1.1, which
    /// cannot tell a client to send no more).
    pub linger: Duration,
    /// Time that a client without a request in flight has to leave when the server
    /// does. One that lives takes a moment: HTTP/1.1 connections are closed
    /// directly, and HTTP/2 waits for the answer to a ping.
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
            memory: 28 * 1024 * 1024,
            large_memory: 12 * 1024 * 1024,
            connections: 2048,
            streams: 64,
            handshake: Duration::from_secs(5),
            header: Duration::from_secs(10),
            body: Duration::from_secs(10),
            write: Duration::from_secs(10),
            idle: Duration::from_mins(2),
            linger: Duration::from_secs(1),
            farewell: Duration::from_secs(5),
            header_bytes: 8 * 1024,
            body_bytes: 8 * 1024 * 1024,
        }
    }
}
