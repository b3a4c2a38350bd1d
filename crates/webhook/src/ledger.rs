//! Bytes that one connection holds, by the work they belong to.

use std::sync::Arc;

use tokio::sync::Notify;

/// Bytes of a connection whose input has been answered: its task, the state of
/// TLS and HTTP, and their buffers. Measured: 1,000 idle HTTP/1.1 connections
/// take 13 MiB.
pub(crate) const CONNECTION: usize = 12 * 1024;
/// Bytes of a request that waits for the rest of its body, beside the body.
pub(crate) const REQUEST: usize = 3 * 1024;
/// Bytes of an answer that [`CONNECTION`] covers: over HTTP/1.1 a connection has
/// one answer at a time.
pub(crate) const SMALL_ANSWER: usize = 4 * 1024;

/// Bytes that one connection holds.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Set once the connection has given way: it holds nothing from then on.
    pub(crate) cut: bool,
    /// Bytes held of [`crate::Limits::memory`].
    pub(crate) common: usize,
    /// Bytes held of [`crate::Limits::large_memory`].
    pub(crate) large: usize,
    /// Bytes that were received and belong to no complete head or body; part of
    /// `common`.
    pub(crate) input: usize,
    /// Bytes that wait for the client to read; part of `common`.
    pub(crate) stalled: usize,
    /// Bodies that are being received, or reviewed after a while.
    pub(crate) bodies: Vec<OpenBody>,
    /// Answers that the client has not read.
    pub(crate) answers: Vec<OpenAnswer>,
}

/// A request body that has not come in one piece.
#[derive(Debug)]
pub(crate) struct OpenBody {
    pub(crate) id: u64,
    /// Milliseconds between the server's start and the request.
    pub(crate) since: u64,
    pub(crate) bytes: usize,
    /// Set if `bytes` count as [`Ledger::large`].
    pub(crate) large: bool,
    /// Set once the last byte is here: it does not give way any more.
    pub(crate) complete: bool,
    pub(crate) cut: Arc<Notify>,
}

/// An answer that waits for the client to read it.
#[derive(Debug)]
pub(crate) struct OpenAnswer {
    pub(crate) id: u64,
    /// Milliseconds between the server's start and the answer.
    pub(crate) since: u64,
    pub(crate) bytes: usize,
}

impl Ledger {
    /// Returns the number of bodies that still miss bytes.
    pub(crate) fn unfinished(&self) -> usize {
        self.bodies.iter().filter(|body| !body.complete).count()
    }
}

/// Unfinished work that can give way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Victim {
    /// Incomplete input gives way before unread answers.
    pub(crate) class: Class,
    /// Milliseconds between the server's start and the beginning of the work.
    pub(crate) since: u64,
    /// The connection.
    pub(crate) connection: u64,
    /// The body; `None` for the whole connection.
    pub(crate) body: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// A handshake, head or body that is not complete.
    Input,
    /// An answer that the client does not read.
    Answer,
}

/// Unfinished work of one address.
#[derive(Debug)]
pub(crate) struct Crowd {
    pub(crate) bytes: usize,
    pub(crate) victims: Vec<Victim>,
}
