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
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{sync::Notify, time::sleep};

use crate::{
    activity::{Activity, Standing},
    limits::{ANSWERS, COMMON_RESERVE, CONNECTION, LARGE_BODIES, Limits},
};

/// Time between two searches for connections that give way, while a client waits.
const AGAIN: Duration = Duration::from_millis(2);
/// Searches after which connections give way that had a request just now.
const PATIENCE: u32 = 8;
/// Times `Limits::grace` by which a handshake or a head may be older than a body.
const OPENING: u64 = 10;
/// Part of the room that is made at once, so that not every client has to search.
const SPARE: usize = 16;

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
    /// Part of them for bodies beyond `COMMON_BODY`.
    large: AtomicUsize,
    open: AtomicUsize,
    /// Number of connections that ever arrived.
    arrived: AtomicU64,
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

/// The arrival of a connection at a port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// Number in the order of arrival.
    number: u64,
    /// Milliseconds of [`Memory::now`].
    pub(crate) moment: u64,
}

#[derive(Debug, Default)]
struct Clients {
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
            large: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            arrived: AtomicU64::new(0),
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

    /// Returns the arrival of a connection that was just accepted.
    pub(crate) fn arrival(&self) -> Arrival {
        Arrival { number: self.arrived.fetch_add(1, Relaxed), moment: self.now() }
    }

    /// Admits a connection from `peer`. The caller has waited for room.
    pub(crate) fn admit(self: &Arc<Self>, peer: IpAddr, arrival: Arrival) -> Place {
        let activity = Arc::new(Activity::new(Arc::clone(self), network(peer), arrival));
        activity.occupy(CONNECTION);
        self.open.fetch_add(1, Relaxed);
        self.clients().connections.insert(arrival.number, Arc::clone(&activity));
        Place { id: arrival.number, activity }
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

    pub(crate) fn take_large(&self, bytes: usize) {
        self.large.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn give_large(&self, bytes: usize) {
        self.large.fetch_sub(bytes, Relaxed);
    }

    /// True if there is room for one more of `purpose`.
    pub(crate) fn has_room(&self, purpose: Purpose) -> bool {
        self.used() < self.ceiling(purpose)
            && match purpose {
                Purpose::Connection => self.len() < self.connections,
                Purpose::Large => self.large.load(Relaxed) < LARGE_BODIES,
                Purpose::Input | Purpose::Answer => true,
            }
    }

    fn ceiling(&self, purpose: Purpose) -> usize {
        match purpose {
            // Of a small port, a half.
            Purpose::Large => self.ceiling - COMMON_RESERVE.min(self.ceiling / 2),
            Purpose::Input => self.ceiling,
            Purpose::Answer => self.ceiling + ANSWERS,
            // Below that of bodies: a flood of connections must not use up their room.
            Purpose::Connection => self.ceiling - (2 * COMMON_RESERVE).min(self.ceiling / 4),
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

    /// Wakes the first waiting client of each purpose that has room and has not been woken.
    fn wake(&self) {
        for purpose in PURPOSES {
            let queue = self.queue(purpose);
            if queue.length.load(Relaxed) > 0 && self.has_room(purpose) {
                queue.room.notify_one();
            }
        }
    }

    fn has_waiting(&self, purpose: Purpose) -> bool {
        self.queue(purpose).length.load(Relaxed) > 0
    }

    fn is_short_of(&self, purpose: Purpose) -> bool {
        self.has_waiting(purpose) && !self.has_room(purpose)
    }

    /// Makes room as long as a client waits for it. Never ends.
    ///
    /// A connection that is woken may be busy with something else, such as a body that
    /// waits as well. So the next one is woken, too, until none waits.
    pub(crate) async fn make_room(&self) {
        loop {
            self.pressure.notified().await;
            let mut searches = 0;
            while PURPOSES.into_iter().any(|purpose| self.has_waiting(purpose)) {
                if PURPOSES.into_iter().any(|purpose| self.is_short_of(purpose)) {
                    self.evict(searches >= PATIENCE);
                    searches += 1;
                } else {
                    searches = 0;
                }
                self.wake();
                sleep(AGAIN).await;
            }
        }
    }

    /// Closes as many connections as the waiting clients need, and a few more.
    fn evict(&self, is_pressing: bool) {
        let clients = self.clients();
        let now = self.now();
        let [grace, linger] = [self.grace, self.linger]
            .map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        let is_old = |since: u64| now.saturating_sub(since) >= grace;
        let is_forgotten = |since: u64| now.saturating_sub(since) >= 4 * grace;
        let mut room = Shortage::of(self);
        let wants_connection = room.connections > 0;
        let [mut large, mut unfinished, mut flood, mut idle, mut quiet, mut waiting] =
            <[Candidates<'_>; 6]>::default();
        let (mut unfinished_count, mut recent_count, mut complete_count) = (0, 0, 0);
        for (&id, activity) in &clients.connections {
            if activity.is_evicted() {
                room.gain(activity);
                continue;
            }
            match activity.standing() {
                // A burst of connections takes longer than a body behind its head.
                standing @ (Standing::Silent { since } | Standing::Opening { since }) => {
                    let has_sent = matches!(standing, Standing::Opening { .. });
                    unfinished_count += 1;
                    flood.add((u8::from(has_sent), since, id), activity);
                    unfinished.add((0, since.saturating_add(OPENING * grace), id), activity);
                }
                Standing::Unfinished { since } => {
                    unfinished_count += 1;
                    if activity.large() > 0 {
                        large.add((0, since, id), activity);
                    }
                    flood.add((1, since, id), activity);
                    unfinished.add((0, since, id), activity);
                }
                Standing::Idle { since } if now.saturating_sub(since) >= linger => {
                    idle.add((0, since, id), activity);
                }
                Standing::Idle { since } => {
                    recent_count += 1;
                    quiet.add((1, since, id), activity);
                }
                // An old connection without a request yet is the first to make room for
                // another one, and the last to make room for a request.
                Standing::Unused { since } if wants_connection && is_forgotten(since) => {
                    quiet.add((0, since, id), activity);
                }
                Standing::Unused { since } => quiet.add((2, since, id), activity),
                Standing::Waiting { since } => waiting.add((0, since, id), activity),
                Standing::Complete => complete_count += 1,
            }
        }
        if room.large > 0 {
            room.make(self, &mut large, is_old);
            // Others do not help.
            room.large = 0;
        }
        room.make(self, &mut unfinished, is_old);
        room.make(self, &mut idle, |_| true);
        // A flood: its connections are too many to grow old, and have no answers.
        if wants_connection && unfinished_count / 4 > recent_count {
            room.make(self, &mut flood, |_| true);
        }
        if is_pressing {
            room.make(self, &mut quiet, |_| true);
        }
        if is_pressing && wants_connection {
            room.make(self, &mut flood, |_| true);
        }
        // Those that wait have all of the memory: none of them would ever begin.
        let is_stuck = complete_count == 0
            && [&unfinished, &idle, &quiet].iter().all(|candidates| candidates.0.is_empty());
        if is_pressing && is_stuck {
            room.make(self, &mut waiting, |_| true);
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
    large: usize,
    connections: usize,
}

impl Shortage {
    fn of(memory: &Memory) -> Self {
        let short = |purpose: &Purpose| memory.is_short_of(*purpose);
        let ceilings = PURPOSES.into_iter().filter(short).map(|purpose| memory.ceiling(purpose));
        // Room that none lacks needs no spare.
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
            // Where bytes are short, connections are as well.
            lacking.max(usize::from(bytes > 0))
        } else {
            0
        };
        Self { bytes, large, connections }
    }

    const fn is_over(&self) -> bool {
        self.bytes == 0 && self.large == 0 && self.connections == 0
    }

    fn gain(&mut self, activity: &Activity) {
        self.bytes = self.bytes.saturating_sub(activity.held());
        self.large = self.large.saturating_sub(activity.large());
        self.connections = self.connections.saturating_sub(1);
    }

    /// Closes connections of `candidates` until there is room, or the next one in turn is
    /// not `due`.
    fn make(
        &mut self,
        memory: &Memory,
        candidates: &mut Candidates<'_>,
        due: impl Fn(u64) -> bool,
    ) {
        if self.is_over() {
            return;
        }
        candidates.sort();
        while !self.is_over() {
            let Some(activity) = candidates.next_if(&due) else { return };
            if activity.is_evicted() {
                continue;
            }
            self.gain(activity);
            memory.evicted.fetch_add(1, Relaxed);
            activity.give_up();
        }
    }
}

/// Rank of a connection among those of its kind: class, moment, and number in the order of
/// arrival, since many have the same moment.
type Order = (u8, u64, u64);

/// Connections that may give way, by address.
#[derive(Default)]
struct Candidates<'c>(HashMap<IpAddr, Address<'c>>);

#[derive(Default)]
struct Address<'c> {
    /// Bytes charged to its connections here.
    weight: usize,
    /// In the order in which they give way, the last one first.
    connections: Vec<(Order, &'c Activity)>,
}

impl<'c> Candidates<'c> {
    /// Adds a connection that gives way before those of a greater `order`.
    fn add(&mut self, order: Order, activity: &'c Activity) {
        let address = self.0.entry(activity.peer()).or_default();
        address.weight += activity.held();
        address.connections.push((order, activity));
    }

    fn sort(&mut self) {
        for address in self.0.values_mut() {
            address.connections.sort_by_key(|(order, _)| std::cmp::Reverse(*order));
        }
    }

    /// Takes the first one of the address with the most, if it is `due`.
    fn next_if(&mut self, due: impl Fn(u64) -> bool) -> Option<&'c Activity> {
        let (peer, address) = self.0.iter_mut().max_by_key(|(_, address)| address.weight)?;
        let peer = *peer;
        let (_, activity) = address.connections.pop_if(|((_, since, _), _)| due(*since))?;
        address.weight = address.weight.saturating_sub(activity.held());
        if address.connections.is_empty() {
            self.0.remove(&peer);
        }
        Some(activity)
    }
}

/// Returns the address that work is counted by: of IPv6 the network of a host.
pub(crate) fn network(peer: IpAddr) -> IpAddr {
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

#[cfg(test)]
mod tests {
    use std::{future::Future as _, net::Ipv4Addr, pin::pin, task::Context};

    use super::*;
    use crate::limits::{MEMORY, PLAIN_MEMORY};

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn mk_memory(connections: usize) -> Arc<Memory> {
        let limits = Limits { linger: Duration::ZERO, ..Limits::default() };
        Memory::new(connections * CONNECTION, &limits)
    }

    #[tokio::test]
    async fn connections_of_one_moment_give_way_in_order() {
        let memory = mk_memory(20);
        let mut places = Vec::new();
        while memory.has_room(Purpose::Connection) {
            let place = memory.admit(PEER, memory.arrival());
            drop(place.activity.request(Some(0)));
            places.push(place);
        }
        let _waiting = Waiting::on(memory.queue(Purpose::Connection));
        memory.evict(false);
        let given_way = places.iter().map(|place| place.activity.is_evicted());
        let given_way = given_way.collect::<Vec<_>>();
        assert!(given_way[0]);
        assert!(given_way.is_sorted_by(|one, next| one >= next), "{given_way:?}");
        assert!(!given_way.ends_with(&[true]));
    }

    #[test]
    fn connections_leave_room_for_bodies() {
        for ceiling in [MEMORY, PLAIN_MEMORY] {
            let memory = Memory::new(ceiling, &Limits::default());
            while memory.has_room(Purpose::Connection) {
                memory.take(CONNECTION);
            }
            assert!(memory.has_room(Purpose::Input));
            assert!(ceiling == PLAIN_MEMORY || memory.has_room(Purpose::Large));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn clients_behind_a_busy_one_are_woken() {
        let memory = mk_memory(2);
        let place = memory.admit(PEER, memory.arrival());
        place.activity.occupy(CONNECTION);
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        let mut busy = pin!(memory.room(Purpose::Input));
        assert!(busy.as_mut().poll(cx).is_pending());
        let next = memory.room(Purpose::Input);
        let room = async {
            tokio::join!(next, async { drop(place) });
        };
        tokio::select! {
            () = memory.make_room() => {}
            () = room => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn clients_that_all_wait_give_way_at_last() {
        let memory = mk_memory(4);
        let mut places = Vec::new();
        while memory.has_room(Purpose::Connection) {
            places.push(memory.admit(PEER, memory.arrival()));
        }
        for place in &places {
            place.activity.received(CONNECTION / 2);
            place.activity.wait(true);
        }
        tokio::select! {
            () = memory.make_room() => {}
            () = places[0].activity.evicted() => {}
            () = memory.room(Purpose::Input) => {}
        }
        assert!(places[0].activity.is_evicted());
    }
}
