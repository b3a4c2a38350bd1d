//! The memory that clients of one port occupy, and the connections that give way when it
//! is used up.
//!
//! No client has a limit of its own: while there is room, any may use it. When a client
//! waits for room, the address with the most unfinished work gives way first, its oldest
//! connection first. Unfinished work is a handshake, a request without its end, or an
//! answer that the client does not read. A request that is complete never gives way.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{sync::Notify, time::sleep};

use crate::{
    activity::{Activity, Standing},
    limits::{ANSWERS, COMMON_RESERVE, CONNECTION, Limits},
};

/// Time between two searches for connections that give way, while a client waits.
const AGAIN: Duration = Duration::from_millis(10);
/// Searches after which a new connection replaces any that has no complete request.
const PATIENCE: u32 = 2;

/// A purpose of memory. Each has its own ceiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A body beyond `COMMON_BODY`.
    Large,
    /// Received bytes and common bodies.
    Input,
    /// An answer, which has none of the client's bytes to wait for.
    Answer,
    /// One more connection.
    Connection,
}

const PURPOSES: [Purpose; 4] =
    [Purpose::Answer, Purpose::Connection, Purpose::Input, Purpose::Large];

/// The account of one port.
#[derive(Debug)]
pub(crate) struct Memory {
    ceiling: usize,
    connections: usize,
    grace: Duration,
    linger: Duration,
    origin: Instant,
    used: AtomicUsize,
    open: AtomicUsize,
    evicted: AtomicUsize,
    queues: [Queue; PURPOSES.len()],
    pressure: Notify,
    emptied: Notify,
    clients: Mutex<Clients>,
}

/// Clients that wait for room of one purpose, the first one first.
#[derive(Debug, Default)]
struct Queue {
    length: AtomicUsize,
    room: Notify,
}

#[derive(Debug, Default)]
struct Clients {
    next: u64,
    connections: HashMap<u64, Arc<Activity>>,
}

impl Memory {
    /// Creates the account of a port whose clients may occupy `ceiling` bytes.
    pub(crate) fn new(ceiling: usize, limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            ceiling,
            connections: limits.connections.max(1),
            grace: limits.grace,
            linger: limits.linger,
            origin: Instant::now(),
            used: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            evicted: AtomicUsize::new(0),
            queues: Default::default(),
            pressure: Notify::new(),
            emptied: Notify::new(),
            clients: Mutex::default(),
        })
    }

    /// Returns the milliseconds since the port was opened.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }

    /// Returns the bytes that are charged to clients.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    /// Returns the number of open connections.
    pub(crate) fn len(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// Returns the number of connections that were closed to make room.
    pub(crate) fn evicted(&self) -> usize {
        self.evicted.load(Relaxed)
    }

    /// Admits a connection from `peer`, once there is room for it.
    pub(crate) async fn enter(self: &Arc<Self>, peer: IpAddr) -> Place {
        self.room(Purpose::Connection).await;
        let activity = Arc::new(Activity::new(Arc::clone(self), network(peer)));
        activity.charge(CONNECTION);
        self.open.fetch_add(1, Relaxed);
        let mut clients = self.clients();
        let id = clients.next;
        clients.next += 1;
        clients.connections.insert(id, Arc::clone(&activity));
        Place { id, activity }
    }

    /// Waits until every connection is closed.
    pub(crate) async fn all_left(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.len() == 0 {
                return;
            }
            emptied.await;
        }
    }

    pub(crate) fn take(&self, bytes: usize) {
        self.used.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn give(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Relaxed);
        self.wake();
    }

    /// True if there is room for one more of `purpose`.
    pub(crate) fn has_room(&self, purpose: Purpose) -> bool {
        self.used() < self.ceiling(purpose)
            && (purpose != Purpose::Connection || self.len() < self.connections)
    }

    fn ceiling(&self, purpose: Purpose) -> usize {
        match purpose {
            // Of a small port, a half.
            Purpose::Large => self.ceiling - COMMON_RESERVE.min(self.ceiling / 2),
            Purpose::Input => self.ceiling,
            Purpose::Answer => self.ceiling + ANSWERS,
            Purpose::Connection => self.ceiling.saturating_sub(CONNECTION),
        }
    }

    /// Waits until there is room for one more of `purpose`.
    pub(crate) async fn room(&self, purpose: Purpose) {
        if self.has_room(purpose) {
            return;
        }
        let queue = self.queue(purpose);
        let waiting = Waiting::on(queue);
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

    fn queue(&self, purpose: Purpose) -> &Queue {
        let [answer, connection, input, large] = &self.queues;
        match purpose {
            Purpose::Answer => answer,
            Purpose::Connection => connection,
            Purpose::Input => input,
            Purpose::Large => large,
        }
    }

    /// Wakes the first waiting client of each purpose that has room.
    fn wake(&self) {
        for purpose in PURPOSES {
            let queue = self.queue(purpose);
            if queue.length.load(Relaxed) > 0 && self.has_room(purpose) {
                queue.room.notify_one();
            }
        }
    }

    fn is_short_of(&self, purpose: Purpose) -> bool {
        self.queue(purpose).length.load(Relaxed) > 0 && !self.has_room(purpose)
    }

    /// Makes room whenever a client waits for it. Never ends.
    pub(crate) async fn make_room(&self) {
        loop {
            self.pressure.notified().await;
            let mut searches = 0;
            while PURPOSES.into_iter().any(|purpose| self.is_short_of(purpose)) {
                self.evict(searches >= PATIENCE && self.is_short_of(Purpose::Connection));
                searches += 1;
                sleep(AGAIN).await;
            }
        }
    }

    /// Closes as many connections as the waiting clients need, and a few more.
    fn evict(&self, at_any_age: bool) {
        let clients = self.clients();
        let now = self.now();
        let [grace, linger] = [self.grace, self.linger]
            .map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        let mut room = Shortage::of(self);
        let mut unfinished = Candidates::default();
        let mut idle = Candidates::default();
        let mut recent = Candidates::default();
        let mut young = Candidates::default();
        for activity in clients.connections.values() {
            if activity.is_evicted() {
                room.gain(activity);
                continue;
            }
            match activity.standing() {
                Standing::Unfinished { since } => {
                    unfinished.weigh(activity);
                    if now.saturating_sub(since) >= grace {
                        unfinished.add(since, activity);
                    } else if at_any_age {
                        young.weigh(activity);
                        young.add(since, activity);
                    }
                }
                Standing::Idle { since } if now.saturating_sub(since) >= linger => {
                    idle.weigh(activity);
                    idle.add(since, activity);
                }
                Standing::Idle { since } if at_any_age => {
                    recent.weigh(activity);
                    recent.add(since, activity);
                }
                Standing::Idle { .. } | Standing::Complete => {}
            }
        }
        for candidates in [unfinished, idle, recent, young] {
            let mut candidates = candidates.sorted();
            while room.is_missing() {
                let Some(activity) = candidates.next() else { break };
                room.gain(activity);
                self.evicted.fetch_add(1, Relaxed);
                activity.evict();
            }
        }
    }

    fn clients(&self) -> MutexGuard<'_, Clients> {
        // Nothing panics while holding it.
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client in a queue.
struct Waiting<'q>(&'q Queue);

impl<'q> Waiting<'q> {
    fn on(queue: &'q Queue) -> Self {
        queue.length.fetch_add(1, Relaxed);
        Self(queue)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.length.fetch_sub(1, Relaxed);
    }
}

/// Bytes and connections that have to go.
struct Shortage {
    bytes: usize,
    connections: usize,
}

impl Shortage {
    fn of(memory: &Memory) -> Self {
        let short = || PURPOSES.into_iter().filter(|purpose| memory.is_short_of(*purpose));
        let lowest = short().map(|purpose| memory.ceiling(purpose)).min();
        // A few more, so that not every client has to search.
        let bytes =
            lowest.map_or(0, |ceiling| memory.used().saturating_sub(ceiling - ceiling / 32));
        let connections = if memory.is_short_of(Purpose::Connection) {
            let spare = (memory.connections / 32).max(1);
            (memory.len() + spare).saturating_sub(memory.connections)
        } else {
            0
        };
        Self { bytes, connections }
    }

    fn gain(&mut self, activity: &Activity) {
        self.bytes = self.bytes.saturating_sub(activity.held());
        self.connections = self.connections.saturating_sub(1);
    }

    const fn is_missing(&self) -> bool {
        self.bytes > 0 || self.connections > 0
    }
}

/// Connections that may give way, by address.
#[derive(Default)]
struct Candidates<'c>(HashMap<IpAddr, Address<'c>>);

#[derive(Default)]
struct Address<'c> {
    /// Bytes of all its work, of any age.
    weight: usize,
    connections: Vec<(u64, &'c Activity)>,
}

impl<'c> Candidates<'c> {
    fn weigh(&mut self, activity: &Activity) {
        self.0.entry(activity.peer()).or_default().weight += activity.held();
    }

    fn add(&mut self, since: u64, activity: &'c Activity) {
        self.0.entry(activity.peer()).or_default().connections.push((since, activity));
    }

    fn sorted(mut self) -> Self {
        self.0.retain(|_, address| !address.connections.is_empty());
        for address in self.0.values_mut() {
            // The oldest last.
            address.connections.sort_by_key(|(since, _)| std::cmp::Reverse(*since));
        }
        self
    }

    /// Returns the oldest of the address with the most.
    fn next(&mut self) -> Option<&'c Activity> {
        let (peer, address) = self.0.iter_mut().max_by_key(|(_, address)| address.weight)?;
        let peer = *peer;
        let (_, activity) = address.connections.pop()?;
        address.weight = address.weight.saturating_sub(activity.held());
        if address.connections.is_empty() {
            self.0.remove(&peer);
        }
        Some(activity)
    }
}

/// Returns the address that work is counted by: of IPv6 the network of a host.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// A connection's entry in the account, which ends when this drops.
#[derive(Debug)]
pub(crate) struct Place {
    id: u64,
    /// The state of the connection.
    pub(crate) activity: Arc<Activity>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let memory = self.activity.memory();
        memory.clients().connections.remove(&self.id);
        let left = memory.open.fetch_sub(1, Relaxed) - 1;
        self.activity.close();
        if left == 0 {
            memory.emptied.notify_waiters();
        }
    }
}
