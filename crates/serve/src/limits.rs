//! Limits on the time, the bytes and the connections of clients.
//!
//! # Memory
//!
//! A replica stays below 64 MiB, whatever unauthenticated clients send:
//!
//! ```text
//! 12 MiB  program, rules, runtime
//! 34 MiB  TLS port: `MEMORY`, shared by connections, bodies and answers
//!  2 MiB  TLS port: `ANSWERS`, for answers when the above is full
//!  2 MiB  plain port: `PLAIN_MEMORY`
//!  6 MiB  the one large review in progress: verdicts and patch of 10,000 images
//!  8 MiB  fragmentation of the heap
//! ```
//!
//! Everything that a client can make the process keep is charged to its
//! connection: [`CONNECTION`] for the connection itself, [`HTTP1`] or [`HTTP2`] from its
//! first request on, [`RECEIVED`] for each received byte up to [`INPUT`], [`STREAM`] and twice
//! the decoded head for each HTTP/2 request, and the bytes of each body that is put together
//! and of each answer that is not sent yet. Connections are accepted up to 26 MiB, which hold
//! 2,200 that wait for their first request, so that bodies always have room. Idle connections
//! make room for those with a request. The kernel's buffers are [`SOCKET_BUFFER`] in each
//! direction and belong to the pod's memory
//! limit, not to the 64 MiB.

use std::time::Duration;

/// Greatest number of bytes of a common body. A larger one is charged separately, and a
/// handler should answer it on a thread of its own.
///
/// A pod with its old version and managed fields is some 10 to 30 KiB.
pub const COMMON_BODY: usize = 64 * 1024;

/// TLS handshakes that may take their costly step, a signature and a key exchange, before
/// other work of the thread: each takes a fraction of a millisecond.
pub(crate) const HANDSHAKES: usize = 8;

/// Bytes that all clients of the TLS port may occupy, see above.
pub(crate) const MEMORY: usize = 34 * 1024 * 1024;
/// Bytes that all clients of the plain port may occupy.
pub(crate) const PLAIN_MEMORY: usize = 2 * 1024 * 1024;
/// Bytes that bodies beyond [`COMMON_BODY`] may occupy of them: two of the largest.
pub(crate) const LARGE_BODIES: usize = 16 * 1024 * 1024;
/// Part of the memory of a port that bodies beyond [`COMMON_BODY`] leave to others.
pub(crate) const COMMON_RESERVE: usize = 4 * 1024 * 1024;
/// Bytes beyond [`MEMORY`] for answers alone, so that complete reviews never wait for
/// incomplete ones.
pub(crate) const ANSWERS: usize = 2 * 1024 * 1024;

/// Bytes charged for a connection: TLS state, one record, two tasks.
pub(crate) const CONNECTION: usize = 12 * 1024;
/// Bytes charged for HTTP/1.1 in addition: hyper keeps 8 KiB for reading and 8 KiB for
/// writing heads.
pub(crate) const HTTP1: usize = 18 * 1024;
/// Bytes charged for HTTP/2 in addition: frames in both directions, header tables.
pub(crate) const HTTP2: usize = 32 * 1024;
/// Bytes charged at most for received bytes that may still be buffered: one TLS record
/// ahead and one incomplete, hyper's buffer, the window of an HTTP/2 connection.
pub(crate) const INPUT: usize = 128 * 1024;
/// Bytes charged for each received byte: the buffer of an incomplete TLS record grows by
/// doubling.
pub(crate) const RECEIVED: usize = 2;
/// Bytes charged for an HTTP/2 request beside its head: its stream and its task.
pub(crate) const STREAM: usize = 4 * 1024;
/// Bytes charged for each field of an HTTP/2 head beside name and value. HPACK sends a
/// field that it knows as one byte; the map of headers keeps an entry for it.
pub(crate) const FIELD: usize = 100;
/// Answers over HTTP/1.1 up to this many bytes fit the connection's own buffer.
pub(crate) const SMALL_ANSWER: usize = 8 * 1024;
/// Size of each of the kernel's two buffers of a connection, in bytes.
pub(crate) const SOCKET_BUFFER: u32 = 64 * 1024;

/// Limits on one client, and on all of them together.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at the same time, in addition to what the memory allows. Beyond it one
    /// has to make room for a new one.
    pub connections: usize,
    /// HTTP/2 requests at the same time on one connection. Go's clients open another
    /// connection for more.
    pub streams: u32,
    /// Time for the TLS handshake.
    pub handshake: Duration,
    /// Time from the first byte of a request to the end of its headers.
    pub header: Duration,
    /// Time from the headers to the end of the body.
    pub body: Duration,
    /// Time from the beginning of an answer until the client has read it.
    pub answer: Duration,
    /// Time that a connection may stay without a request. API servers drop
    /// theirs after 90 s (Go's `IdleConnTimeout`). The client should close first,
    /// because a request may be under way when the server closes.
    pub idle: Duration,
    /// Time after a request in which the next one may be on its way. During it a
    /// connection makes room after all others, and over HTTP/1.1 is still served when
    /// the server is leaving.
    pub linger: Duration,
    /// Age at which unfinished work gives way when a client waits for memory or for a
    /// connection. The body of an API server's review follows its head within
    /// milliseconds.
    pub grace: Duration,
    /// Time that a client without a request has to leave when the server
    /// does. One that lives takes a moment: HTTP/1.1 connections are closed
    /// at once, and HTTP/2 waits for the answer to a ping.
    pub farewell: Duration,
    /// Bytes of a request's headers. An API server sends less than 1 KiB, and a bearer token
    /// of some KiB where it is configured to.
    pub header_bytes: u32,
    /// Bytes of a request's body. API servers take objects up to 3 MiB, and a
    /// review of an update holds two.
    pub body_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            streams: 32,
            handshake: Duration::from_secs(10),
            header: Duration::from_secs(10),
            body: Duration::from_secs(10),
            answer: Duration::from_secs(10),
            idle: Duration::from_mins(2),
            linger: Duration::from_secs(1),
            grace: Duration::from_millis(400),
            farewell: Duration::from_secs(5),
            header_bytes: 8 * 1024,
            body_bytes: 8 * 1024 * 1024,
        }
    }
}
