//! The state of one connection: its requests, its times and its share of the memory.

mod request;
mod time_limits;

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use tokio::sync::Notify;

pub use self::request::{Charge, InFlightRequest};
pub(crate) use self::time_limits::Expired;
use crate::{
    limits::{INPUT, RECEIVED},
    memory::{Arrival, MemoryBudget},
};

/// Value of a moment that is not set.
const NONE: u64 = u64::MAX;

/// The state of one connection.
///
/// hyper's own header timeout also runs while a connection is idle, and HTTP/2 has no such timeout.
/// Bytes and requests are therefore observed here. Moments are milliseconds of
/// [`MemoryBudget::now`].
#[derive(Debug)]
pub(crate) struct Activity {
    /// Memory of the port.
    pub(crate) memory: Arc<MemoryBudget>,
    /// Address by which work is counted.
    pub(crate) peer: IpAddr,
    /// Moment of the connection's arrival.
    accepted: u64,
    /// Moment since which the server waits for the client's handshake; `NONE` while the
    /// client waits for its turn.
    opened: AtomicU64,
    /// All bytes charged to the connection.
    held: AtomicUsize,
    /// Charged bytes of bodies above `COMMON_BODY`.
    large: AtomicUsize,
    /// Charged bytes of the connection itself.
    base: AtomicUsize,
    /// Charged bytes of received data that may still be buffered.
    input: AtomicUsize,
    /// Decrypted HTTP/1.1 bytes that no request has consumed.
    plain: AtomicUsize,
    /// Received bytes that TLS has not decrypted yet.
    sealed: AtomicUsize,
    /// Number of HTTP/2 bodies that wait for room.
    paused: AtomicUsize,
    /// Notified when the last HTTP/2 body has room.
    resumed: Notify,
    /// True while the connection waits for room to begin its first request.
    waits: AtomicBool,
    /// True after the first write.
    wrote: AtomicBool,
    /// True after the handshake.
    handshake_done: AtomicBool,
    /// True after the first request.
    used: AtomicBool,
    /// Number of requests in `open`.
    requests: AtomicU32,
    open: Mutex<OpenRequests>,
    /// Moment since which there is no request.
    idle_since: AtomicU64,
    /// Moment of the first byte of a request with incomplete headers; `NONE` without one.
    head_since: AtomicU64,
    /// Moment since which the client has not read everything; `NONE` if it has.
    unsent_since: AtomicU64,
    /// True after [`Self::give_up`].
    evicted: AtomicBool,
    /// Notified when the connection has to give way, for its task.
    leave: Notify,
    /// Notified when the connection has to give way, for its requests.
    gone: Notify,
}

/// The requests of a connection that are not answered completely.
#[derive(Debug, Default)]
struct OpenRequests {
    /// Number of the next request.
    next: u32,
    requests: Vec<OpenRequest>,
}

/// A request whose answer is not sent completely.
#[derive(Debug)]
struct OpenRequest {
    id: u32,
    stage: RequestStage,
    since: u64,
}

/// The stage of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequestStage {
    /// The body is incomplete.
    Body,
    /// The request is complete and has no answer yet.
    Review,
    /// The client has not read the whole answer.
    Answer,
}

/// The state of a connection, which decides its rank when connections have to give way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionState {
    /// The handshake is over and no request has begun.
    Unused { since: u64 },
    /// The client has sent nothing yet.
    Silent { since: u64 },
    /// The handshake or a request's head is incomplete.
    Opening { since: u64 },
    /// A body is incomplete, or an answer is unread.
    Unfinished { since: u64 },
    /// All requests are answered.
    Idle { since: u64 },
    /// The first request waits for room to begin.
    Waiting { since: u64 },
    /// The client has sent everything. Its requests are in progress, or wait for room.
    Complete,
}

impl Activity {
    /// Returns the state of a connection that was just accepted from `peer`.
    pub(crate) fn new(memory: Arc<MemoryBudget>, peer: IpAddr, arrival: Arrival) -> Self {
        Self {
            memory,
            peer,
            accepted: arrival.moment,
            opened: AtomicU64::new(arrival.moment),
            held: AtomicUsize::new(0),
            large: AtomicUsize::new(0),
            base: AtomicUsize::new(0),
            input: AtomicUsize::new(0),
            plain: AtomicUsize::new(0),
            sealed: AtomicUsize::new(0),
            paused: AtomicUsize::new(0),
            resumed: Notify::new(),
            waits: AtomicBool::new(false),
            wrote: AtomicBool::new(false),
            handshake_done: AtomicBool::new(false),
            used: AtomicBool::new(false),
            requests: AtomicU32::new(0),
            open: Mutex::default(),
            idle_since: AtomicU64::new(arrival.moment),
            head_since: AtomicU64::new(NONE),
            unsent_since: AtomicU64::new(NONE),
            evicted: AtomicBool::new(false),
            leave: Notify::new(),
            gone: Notify::new(),
        }
    }

    /// Returns the bytes charged to the connection.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Relaxed)
    }

    /// Returns the bytes charged for bodies beyond `COMMON_BODY`.
    pub(crate) fn large(&self) -> usize {
        self.large.load(Relaxed)
    }

    /// Charges `bytes` until [`Self::close`].
    pub(crate) fn occupy(&self, bytes: usize) {
        self.base.fetch_add(bytes, Relaxed);
        self.charge(bytes);
    }

    /// Charges `bytes` to the connection and the port.
    fn charge(&self, bytes: usize) {
        self.held.fetch_add(bytes, Relaxed);
        self.memory.take(bytes);
    }

    /// Releases charged `bytes`.
    fn discharge(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Relaxed);
        self.memory.give(bytes);
    }

    /// Releases the bytes of the connection itself and of received data.
    pub(crate) fn close(&self) {
        self.discharge(self.base.swap(0, Relaxed) + self.input.swap(0, Relaxed));
    }

    /// Charges `bytes` that were received from the network.
    pub(crate) fn received(&self, bytes: usize) {
        let input = self.input.load(Relaxed);
        let more = (RECEIVED * bytes).min(INPUT.saturating_sub(input));
        if more > 0 {
            self.input.store(input + more, Relaxed);
            self.charge(more);
        }
    }

    /// Sets the number of received bytes that TLS cannot decrypt yet.
    pub(crate) fn seal(&self, bytes: usize) {
        self.sealed.store(bytes, Relaxed);
    }

    /// Returns true while no bytes of the connection may be read.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Relaxed) > 0
    }

    /// Waits until bytes of the connection may be read.
    pub(crate) async fn resumed(&self) {
        loop {
            let resumed = self.resumed.notified();
            if !self.is_paused() {
                return;
            }
            resumed.await;
        }
    }

    /// Records a write. `whole` is true if the socket took all bytes.
    pub(crate) fn written(&self, whole: bool) {
        if !self.wrote.load(Relaxed) {
            self.wrote.store(true, Relaxed);
        }
        if whole {
            if self.unsent_since.load(Relaxed) != NONE {
                self.unsent_since.store(NONE, Relaxed);
            }
        } else if self.unsent_since.load(Relaxed) == NONE {
            self.unsent_since.store(self.memory.now(), Relaxed);
        }
    }

    /// Returns true after the first write.
    pub(crate) fn has_written(&self) -> bool {
        self.wrote.load(Relaxed)
    }

    /// Records the start or the end of a wait for room. A wait restarts the time of a head.
    pub(crate) fn wait(&self, waits: bool) {
        self.waits.store(waits, Relaxed);
        if self.head_since.load(Relaxed) != NONE {
            self.head_since.store(self.memory.now(), Relaxed);
        }
    }

    /// Records the start or the end of a wait for a turn with the handshake.
    pub(crate) fn queue(&self, waits: bool) {
        self.opened.store(if waits { NONE } else { self.memory.now() }, Relaxed);
    }

    /// Records the end of the handshake.
    pub(crate) fn handshake_done(&self) {
        self.handshake_done.store(true, Relaxed);
    }

    /// Records `bytes` of decrypted HTTP/1.1.
    pub(crate) fn read(&self, bytes: usize) {
        self.plain.fetch_add(bytes, Relaxed);
        if self.requests.load(Relaxed) == 0 && self.head_since.load(Relaxed) == NONE {
            self.head_since.store(self.memory.now(), Relaxed);
        }
    }

    /// Locks the open requests.
    fn open(&self) -> MutexGuard<'_, OpenRequests> {
        // No code panics while it holds the lock.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the state that decides when the connection gives way.
    pub(crate) fn state(&self) -> ConnectionState {
        if self.waits.load(Relaxed) {
            return ConnectionState::Waiting { since: self.accepted };
        }
        let unsent = self.unsent_since.load(Relaxed);
        if unsent != NONE {
            return ConnectionState::Unfinished { since: unsent };
        }
        let head = self.head_since.load(Relaxed);
        if self.requests.load(Relaxed) == 0 {
            return if head != NONE {
                ConnectionState::Opening { since: head }
            } else if self.used.load(Relaxed) {
                ConnectionState::Idle { since: self.idle_since.load(Relaxed) }
            } else if self.handshake_done.load(Relaxed) {
                ConnectionState::Unused { since: self.accepted }
            } else {
                match self.opened.load(Relaxed) {
                    NONE => ConnectionState::Opening { since: self.memory.now() },
                    since if self.input.load(Relaxed) == 0 => ConnectionState::Silent { since },
                    since => ConnectionState::Opening { since },
                }
            };
        }
        let open = self.open();
        let unfinished = open.requests.iter().filter(|one| one.stage != RequestStage::Review);
        unfinished
            .map(|one| one.since)
            .min()
            .map_or(ConnectionState::Complete, |since| ConnectionState::Unfinished { since })
    }

    /// Makes the connection give way, even if it waits for room.
    pub(crate) fn give_up(&self) {
        self.waits.store(false, Relaxed);
        self.evicted.store(true, Relaxed);
        self.leave.notify_one();
        self.gone.notify_waiters();
    }

    /// Returns true if the connection has to give way.
    pub(crate) fn is_evicted(&self) -> bool {
        self.evicted.load(Relaxed)
    }

    /// Waits until the connection has to give way. A connection whose request was completed, or
    /// began to wait for room, after the decision is kept.
    pub(crate) async fn evicted(&self) {
        loop {
            self.leave.notified().await;
            if !matches!(self.state(), ConnectionState::Complete | ConnectionState::Waiting { .. })
            {
                return;
            }
            self.evicted.store(false, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
