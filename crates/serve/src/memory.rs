//! The account of the memory that clients of one port occupy.
//!
//! A single client has no limit: any may use free room. Without free room, clients wait, and
//! connections give way (see `connections`).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use tokio::sync::Notify;

use crate::limits::{ANSWERS, COMMON_RESERVE, LARGE_BODIES, Limits};

/// Divisor of a ceiling: this part of it is freed in addition, so that not every client causes a
/// search.
const SPARE: usize = 16;

/// A purpose of memory. Each has a ceiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A body above `COMMON_BODY`.
    Large,
    /// Received bytes and common bodies.
    Input,
    /// An answer to a complete request.
    Answer,
    /// One more connection.
    Connection,
}

/// All purposes. A waiting client of an earlier one is woken first.
pub(crate) const PURPOSES: [Purpose; 4] =
    [Purpose::Answer, Purpose::Connection, Purpose::Input, Purpose::Large];

/// The memory account of one port.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    ceiling: usize,
    connections: usize,
    origin: Instant,
    used: AtomicUsize,
    /// Bytes charged for bodies above `COMMON_BODY`.
    pub(crate) large: AtomicUsize,
    /// Number of open connections.
    pub(crate) open: AtomicUsize,
    /// Number of all connections so far.
    arrived: AtomicU64,
    queues: [RoomQueue; PURPOSES.len()],
    /// Notified when a client lacks room.
    pub(crate) pressure: Notify,
}

/// Clients that wait for room of one purpose, in the order of arrival.
#[derive(Debug, Default)]
pub(crate) struct RoomQueue {
    length: AtomicUsize,
    room: Notify,
}

/// The arrival of a connection at a port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// Number in the order of arrival.
    pub(crate) number: u64,
    /// Time of [`MemoryBudget::now`], in milliseconds.
    pub(crate) moment: u64,
}

impl MemoryBudget {
    /// Returns the account of a port whose clients may occupy `ceiling` bytes.
    pub(crate) fn new(ceiling: usize, limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            ceiling,
            connections: limits.connections.max(1),
            origin: Instant::now(),
            used: AtomicUsize::new(0),
            large: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            arrived: AtomicU64::new(0),
            queues: Default::default(),
            pressure: Notify::new(),
        })
    }

    /// Returns the milliseconds since the port was opened.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }

    /// Returns the number of bytes that are charged to clients.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    /// Returns the number of open connections.
    pub(crate) fn len(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// Returns number and time of a connection that was just accepted.
    pub(crate) fn arrival(&self) -> Arrival {
        Arrival { number: self.arrived.fetch_add(1, Relaxed), moment: self.now() }
    }

    /// Charges `bytes`.
    pub(crate) fn take(&self, bytes: usize) {
        self.used.fetch_add(bytes, Relaxed);
    }

    /// Releases `bytes`, and wakes clients that have room now.
    pub(crate) fn give(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Relaxed);
        self.wake();
    }

    /// Returns true if there is room for one more of `purpose`.
    pub(crate) fn has_room(&self, purpose: Purpose) -> bool {
        self.used() < self.ceiling(purpose)
            && match purpose {
                Purpose::Connection => self.len() < self.connections,
                Purpose::Large => self.large.load(Relaxed) < LARGE_BODIES,
                Purpose::Input | Purpose::Answer => true,
            }
    }

    /// Returns the number of used bytes at which `purpose` has no more room.
    fn ceiling(&self, purpose: Purpose) -> usize {
        match purpose {
            // On a small port the reserve is half of the memory.
            Purpose::Large => self.ceiling - COMMON_RESERVE.min(self.ceiling / 2),
            Purpose::Input => self.ceiling,
            Purpose::Answer => self.ceiling + ANSWERS,
            // Below the ceiling of bodies, so that a flood of connections leaves room for them.
            Purpose::Connection => self.ceiling - (2 * COMMON_RESERVE).min(self.ceiling / 4),
        }
    }

    /// Waits until there is room for one more of `purpose`.
    pub(crate) async fn room(&self, purpose: Purpose) {
        if self.has_room(purpose) {
            return;
        }
        let queue = self.queue(purpose);
        let waiting = queue.enter();
        loop {
            let room = queue.room.notified();
            if self.has_room(purpose) {
                break;
            }
            self.pressure.notify_one();
            room.await;
        }
        drop(waiting);
        self.wake();
    }

    /// Returns the queue of `purpose`.
    pub(crate) fn queue(&self, purpose: Purpose) -> &RoomQueue {
        let [answer, connection, input, large] = &self.queues;
        match purpose {
            Purpose::Answer => answer,
            Purpose::Connection => connection,
            Purpose::Input => input,
            Purpose::Large => large,
        }
    }

    /// Wakes the first waiting client of each purpose that has room and has not been woken.
    pub(crate) fn wake(&self) {
        for purpose in PURPOSES {
            let queue = self.queue(purpose);
            if queue.length.load(Relaxed) > 0 && self.has_room(purpose) {
                queue.room.notify_one();
            }
        }
    }

    /// Returns true if a client waits for room of `purpose`.
    pub(crate) fn has_waiting(&self, purpose: Purpose) -> bool {
        self.queue(purpose).length.load(Relaxed) > 0
    }

    /// Returns true if a client waits for room of `purpose` and there is none.
    pub(crate) fn is_short_of(&self, purpose: Purpose) -> bool {
        self.has_waiting(purpose) && !self.has_room(purpose)
    }
}

/// A client in a queue, until the value drops.
pub(crate) struct QueuedClient<'q>(&'q RoomQueue);

impl RoomQueue {
    /// Counts one more client until the returned value drops.
    pub(crate) fn enter(&self) -> QueuedClient<'_> {
        self.length.fetch_add(1, Relaxed);
        QueuedClient(self)
    }
}

impl Drop for QueuedClient<'_> {
    fn drop(&mut self) {
        self.0.length.fetch_sub(1, Relaxed);
    }
}

/// Numbers of bytes and connections that must be freed.
pub(crate) struct Shortage {
    pub(crate) bytes: usize,
    pub(crate) large: usize,
    pub(crate) connections: usize,
}

impl Shortage {
    /// Returns the shortage of the waiting clients, with a reserve.
    pub(crate) fn of(memory: &MemoryBudget) -> Self {
        let short = |purpose: &Purpose| memory.is_short_of(*purpose);
        let ceilings = PURPOSES.into_iter().filter(short).map(|purpose| memory.ceiling(purpose));
        // A purpose without waiting clients needs no reserve.
        let lacking = ceilings.filter(|ceiling| memory.used() >= *ceiling).min();
        let bytes =
            lacking.map_or(0, |ceiling| memory.used().saturating_sub(ceiling - ceiling / SPARE));
        let large = if memory.is_short_of(Purpose::Large) {
            memory.large.load(Relaxed).saturating_sub(LARGE_BODIES - LARGE_BODIES / SPARE)
        } else {
            0
        };
        let connections = if memory.is_short_of(Purpose::Connection) {
            let spare = (memory.connections / SPARE).max(1);
            let lacking = (memory.len() + spare).saturating_sub(memory.connections);
            // A shortage of bytes is one of connections, too.
            lacking.max(usize::from(bytes > 0))
        } else {
            0
        };
        Self { bytes, large, connections }
    }

    /// Returns true if enough has been freed.
    pub(crate) const fn is_over(&self) -> bool {
        self.bytes == 0 && self.large == 0 && self.connections == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{CONNECTION, MEMORY, PLAIN_MEMORY};

    #[test]
    fn connections_leave_room_for_bodies() {
        for ceiling in [MEMORY, PLAIN_MEMORY] {
            let memory = MemoryBudget::new(ceiling, &Limits::default());
            while memory.has_room(Purpose::Connection) {
                memory.take(CONNECTION);
            }
            assert!(memory.has_room(Purpose::Input));
            assert!(ceiling == PLAIN_MEMORY || memory.has_room(Purpose::Large));
        }
    }
}
