//! Limits on the time, the bytes and the connections of clients.
//!
//! # Memory
//!
//! A replica uses less than 64 MiB, independent of the input of unauthenticated clients:
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
//! All memory that a client can occupy is charged to its connection:
//!
//! - [`CONNECTION`] for the connection itself
//! - [`HTTP1`] or [`HTTP2`] from its first request on
//! - [`RECEIVED`] for each received byte, up to [`INPUT`]
//! - [`STREAM`] and twice the decoded head for each HTTP/2 request
//! - the bytes of each body in several pieces, and of each answer that is not sent
//!
//! Connections are accepted up to 26 MiB, which is enough for 2,200 that wait for their first
//! request. Bodies therefore always have room. Idle connections make room for those with a request.
//! The kernel's buffers, [`SOCKET_BUFFER`] in each direction, count towards the pod's memory limit
//! and not towards the 64 MiB.

use std::time::Duration;

/// Greatest number of bytes of a common body. A larger one is charged separately, and a
/// handler should answer it on another thread.
///
/// A review of a pod with its old version and managed fields has some 10 to 30 KiB.
pub const COMMON_BODY: usize = 64 * 1024;

/// Number of TLS handshakes whose costly step may run before other work of the thread. The step,
/// a signature and a key exchange, takes a fraction of a millisecond.
pub(crate) const HANDSHAKES: usize = 8;

/// Bytes that all clients of the TLS port may occupy.
pub(crate) const MEMORY: usize = 34 * 1024 * 1024;
/// Bytes that all clients of the plain port may occupy.
pub(crate) const PLAIN_MEMORY: usize = 2 * 1024 * 1024;
/// Part of [`MEMORY`] that bodies above [`COMMON_BODY`] may occupy, in bytes: two of the largest.
pub(crate) const LARGE_BODIES: usize = 16 * 1024 * 1024;
/// Part of the memory of a port that bodies above [`COMMON_BODY`] leave to others.
pub(crate) const COMMON_RESERVE: usize = 4 * 1024 * 1024;
/// Bytes in addition to [`MEMORY`] that only answers may occupy, so that complete reviews never
/// wait for incomplete ones.
pub(crate) const ANSWERS: usize = 2 * 1024 * 1024;

/// Bytes charged for a connection: TLS state, one record and two tasks.
pub(crate) const CONNECTION: usize = 12 * 1024;
/// Bytes charged for HTTP/1.1 in addition: hyper keeps 8 KiB for reading and 8 KiB for
/// writing heads.
pub(crate) const HTTP1: usize = 18 * 1024;
/// Bytes charged for HTTP/2 in addition: frames in both directions and header tables.
pub(crate) const HTTP2: usize = 32 * 1024;
/// Upper bound of the bytes charged for received data that may still be buffered. The buffers are
/// one complete and one incomplete TLS record, hyper's buffer, and the window of an HTTP/2
/// connection.
pub(crate) const INPUT: usize = 128 * 1024;
/// Bytes charged for each received byte. The buffer of an incomplete TLS record grows by doubling.
pub(crate) const RECEIVED: usize = 2;
/// Bytes charged for an HTTP/2 request in addition to its head: stream and task.
pub(crate) const STREAM: usize = 4 * 1024;
/// Bytes charged for each field of an HTTP/2 head in addition to name and value. HPACK sends a
/// known field as one byte, and the map of headers has an entry for it.
pub(crate) const FIELD: usize = 100;
/// Largest answer that fits the own buffer of an HTTP/1.1 connection, in bytes.
pub(crate) const SMALL_ANSWER: usize = 8 * 1024;
/// Size of each of a connection's two kernel buffers, in bytes.
pub(crate) const SOCKET_BUFFER: u32 = 64 * 1024;

/// Limits on each client, and on all clients together.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Number of open connections. The memory may limit it further. At the limit, a
    /// connection has to make room for a new one.
    pub connections: usize,
    /// Number of concurrent HTTP/2 requests on one connection. Go's clients open another
    /// connection for more.
    pub streams: u32,
    /// Time limit of the TLS handshake.
    pub handshake: Duration,
    /// Time limit from the first byte of a request to the end of its headers.
    pub header: Duration,
    /// Time limit from the headers to the end of the body.
    pub body: Duration,
    /// Time limit from the start of an answer until the client has read it.
    pub answer: Duration,
    /// Time limit of a connection without a request. API servers close an idle one after 90 s (Go's
    /// `IdleConnTimeout`). The client should close first, because a request may be under way when
    /// the server closes.
    pub idle: Duration,
    /// Time after a request in which the next one may be under way. During this time a connection
    /// is the last to make room, and an HTTP/1.1 connection is served while the server drains.
    pub linger: Duration,
    /// Age at which unfinished work gives way when a client waits for memory or for a
    /// connection. The body of an API server's review follows its head within
    /// milliseconds.
    pub grace: Duration,
    /// Time that an idle client has to leave after GOAWAY when the server drains. HTTP/2 waits for
    /// the answer to a ping, which a live client sends at once. HTTP/1.1 connections are closed
    /// at once.
    pub goaway: Duration,
    /// Limit of a request's headers, in bytes. API servers send less than 1 KiB, plus a bearer
    /// token of some KiB if one is configured.
    pub header_bytes: u32,
    /// Limit of a request's body, in bytes. API servers accept objects up to 3 MiB, and a review of
    /// an update contains two.
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
            goaway: Duration::from_secs(5),
            header_bytes: 8 * 1024,
            body_bytes: 8 * 1024 * 1024,
        }
    }
}
