//! The open connections of one port, and their eviction when its memory is used up.
//!
//! While a client waits for room, the address with the most unfinished work gives way first, its
//! oldest connection first. Unfinished work is a handshake, an incomplete request, or an answer
//! that the client does not read. A complete request never gives way.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::sleep};

use crate::{
    activity::{Activity, ConnectionState},
    limits::{CONNECTION, Limits},
    memory::{Arrival, MemoryBudget, PURPOSES, Shortage},
};

/// Time between two searches for connections to evict, while a client waits.
const SEARCH_INTERVAL: Duration = Duration::from_millis(2);
/// Number of searches after which connections with a recent request give way, too.
const SEARCHES: u32 = 8;
/// Multiple of `Limits::grace` by which a handshake or a head may be older than a body.
const OPENING_FACTOR: u64 = 10;

/// The open connections of one port.
#[derive(Debug)]
pub(crate) struct OpenConnections {
    /// Memory of the port.
    pub(crate) memory: Arc<MemoryBudget>,
    grace: Duration,
    linger: Duration,
    evicted: AtomicUsize,
    emptied: Notify,
    clients: Mutex<HashMap<u64, Arc<Activity>>>,
}

impl OpenConnections {
    /// Returns the state of a port whose clients may occupy `ceiling` bytes.
    pub(crate) fn new(ceiling: usize, limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            memory: MemoryBudget::new(ceiling, limits),
            grace: limits.grace,
            linger: limits.linger,
            evicted: AtomicUsize::new(0),
            emptied: Notify::new(),
            clients: Mutex::default(),
        })
    }

    /// Returns the number of connections that were closed to make room.
    pub(crate) fn evicted(&self) -> usize {
        self.evicted.load(Relaxed)
    }

    /// Adds a connection from `peer`. The caller must have waited for room.
    pub(crate) fn admit(self: &Arc<Self>, peer: IpAddr, arrival: Arrival) -> ConnectionSlot {
        let activity = Arc::new(Activity::new(Arc::clone(&self.memory), network(peer), arrival));
        activity.occupy(CONNECTION);
        self.memory.open.fetch_add(1, Relaxed);
        self.clients().insert(arrival.number, Arc::clone(&activity));
        ConnectionSlot { id: arrival.number, activity, connections: Arc::clone(self) }
    }

    /// Waits until every connection is closed.
    pub(crate) async fn all_left(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.memory.len() == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// Evicts connections while a client waits for room. Never returns.
    ///
    /// A client that is woken may be busy, such as with another body that waits. The next client
    /// is therefore woken, too, until none waits.
    pub(crate) async fn make_room(&self) {
        loop {
            self.memory.pressure.notified().await;
            let mut searches = 0;
            while PURPOSES.into_iter().any(|purpose| self.memory.has_waiting(purpose)) {
                if PURPOSES.into_iter().any(|purpose| self.memory.is_short_of(purpose)) {
                    self.evict(searches >= SEARCHES);
                    searches += 1;
                } else {
                    searches = 0;
                }
                self.memory.wake();
                sleep(SEARCH_INTERVAL).await;
            }
        }
    }

    /// Evicts as many connections as the waiting clients need, and a few more. `is_pressing` is
    /// true after several searches.
    fn evict(&self, is_pressing: bool) {
        let clients = self.clients();
        let now = self.memory.now();
        let [grace, linger] = [self.grace, self.linger]
            .map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        let is_old = |since: u64| now.saturating_sub(since) >= grace;
        let is_unused_for_long = |since: u64| now.saturating_sub(since) >= 4 * grace;
        let mut room = Shortage::of(&self.memory);
        let wants_connection = room.connections > 0;
        let [mut large, mut unfinished, mut flood, mut idle, mut quiet, mut waiting] =
            <[EvictionCandidates<'_>; 6]>::default();
        let (mut unfinished_count, mut recent_count, mut complete_count) = (0, 0, 0);
        for (&id, activity) in &*clients {
            if activity.is_evicted() {
                room.gain(activity);
                continue;
            }
            match activity.state() {
                // A burst of handshakes takes longer than a body after its head.
                state
                @ (ConnectionState::Silent { since } | ConnectionState::Opening { since }) => {
                    let has_sent = matches!(state, ConnectionState::Opening { .. });
                    unfinished_count += 1;
                    flood.add((u8::from(has_sent), since, id), activity);
                    unfinished.add((0, since.saturating_add(OPENING_FACTOR * grace), id), activity);
                }
                ConnectionState::Unfinished { since } => {
                    unfinished_count += 1;
                    if activity.large() > 0 {
                        large.add((0, since, id), activity);
                    }
                    flood.add((1, since, id), activity);
                    unfinished.add((0, since, id), activity);
                }
                ConnectionState::Idle { since } if now.saturating_sub(since) >= linger => {
                    idle.add((0, since, id), activity);
                }
                ConnectionState::Idle { since } => {
                    recent_count += 1;
                    quiet.add((1, since, id), activity);
                }
                // An old connection that never had a request is the first to make room for another
                // connection, and the last to make room for a request.
                ConnectionState::Unused { since }
                    if wants_connection && is_unused_for_long(since) =>
                {
                    quiet.add((0, since, id), activity);
                }
                ConnectionState::Unused { since } => quiet.add((2, since, id), activity),
                ConnectionState::Waiting { since } => waiting.add((0, since, id), activity),
                ConnectionState::Complete => complete_count += 1,
            }
        }
        if room.large > 0 {
            room.make(self, &mut large, is_old);
            // Other connections occupy no memory of large bodies.
            room.large = 0;
        }
        room.make(self, &mut unfinished, is_old);
        room.make(self, &mut idle, |_| true);
        // In a flood, connections are evicted before they are old, and have no answers.
        if wants_connection && unfinished_count / 4 > recent_count {
            room.make(self, &mut flood, |_| true);
        }
        if is_pressing {
            room.make(self, &mut quiet, |_| true);
        }
        if is_pressing && wants_connection {
            room.make(self, &mut flood, |_| true);
        }
        // Waiting connections occupy all of the memory, so none of them could ever begin.
        let is_stuck = complete_count == 0
            && [&unfinished, &idle, &quiet].iter().all(|candidates| candidates.0.is_empty());
        if is_pressing && is_stuck {
            room.make(self, &mut waiting, |_| true);
        }
    }

    /// Locks the open connections.
    fn clients(&self) -> MutexGuard<'_, HashMap<u64, Arc<Activity>>> {
        // No code panics while it holds the lock.
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shortage {
    /// Subtracts a connection that is being evicted.
    fn gain(&mut self, activity: &Activity) {
        self.bytes = self.bytes.saturating_sub(activity.held());
        self.large = self.large.saturating_sub(activity.large());
        self.connections = self.connections.saturating_sub(1);
    }

    /// Evicts connections of `candidates` until there is room, or the next one is not `due`.
    fn make(
        &mut self,
        connections: &OpenConnections,
        candidates: &mut EvictionCandidates<'_>,
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
            connections.evicted.fetch_add(1, Relaxed);
            activity.give_up();
        }
    }
}

/// The rank of a connection among those of its kind: class, moment, and number in the order of
/// arrival, because many have the same moment.
type EvictionRank = (u8, u64, u64);

/// Connections that may be evicted, by address.
#[derive(Default)]
struct EvictionCandidates<'c>(HashMap<IpAddr, AddressCandidates<'c>>);

/// The candidates of one address.
#[derive(Default)]
struct AddressCandidates<'c> {
    /// Bytes charged to `connections`.
    weight: usize,
    /// Connections in reverse order of eviction.
    connections: Vec<(EvictionRank, &'c Activity)>,
}

impl<'c> EvictionCandidates<'c> {
    /// Adds a connection, which gives way before those of a greater `order`.
    fn add(&mut self, order: EvictionRank, activity: &'c Activity) {
        let address = self.0.entry(activity.peer).or_default();
        address.weight += activity.held();
        address.connections.push((order, activity));
    }

    /// Sorts the candidates of each address for [`Self::next_if`].
    fn sort(&mut self) {
        for address in self.0.values_mut() {
            address.connections.sort_unstable_by_key(|(order, _)| std::cmp::Reverse(*order));
        }
    }

    /// Takes the next candidate of the address with the most charged bytes, if it is `due`.
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

/// Returns the address by which work is counted: an IPv4 address, or the network of an IPv6 host.
pub(crate) fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// The entry of a connection, removed when the value drops.
#[derive(Debug)]
pub(crate) struct ConnectionSlot {
    id: u64,
    /// State of the connection.
    pub(crate) activity: Arc<Activity>,
    connections: Arc<OpenConnections>,
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.connections.clients().remove(&self.id);
        let left = self.connections.memory.open.fetch_sub(1, Relaxed) - 1;
        self.activity.close();
        if left == 0 {
            self.connections.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future as _, net::Ipv4Addr, pin::pin, task::Context};

    use super::*;
    use crate::memory::Purpose;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn mk_connections(count: usize) -> Arc<OpenConnections> {
        let limits = Limits { linger: Duration::ZERO, ..Limits::default() };
        OpenConnections::new(count * CONNECTION, &limits)
    }

    #[tokio::test]
    async fn connections_of_one_moment_give_way_in_order() {
        let connections = mk_connections(20);
        let mut slots = Vec::new();
        while connections.memory.has_room(Purpose::Connection) {
            let slot = connections.admit(PEER, connections.memory.arrival());
            drop(slot.activity.request(Some(0)));
            slots.push(slot);
        }
        let _waiting = connections.memory.queue(Purpose::Connection).enter();
        connections.evict(false);
        let given_way = slots.iter().map(|slot| slot.activity.is_evicted());
        let given_way = given_way.collect::<Vec<_>>();
        assert!(given_way[0]);
        assert!(given_way.is_sorted_by(|one, next| one >= next), "{given_way:?}");
        assert!(!given_way.ends_with(&[true]));
    }

    #[tokio::test(start_paused = true)]
    async fn clients_behind_busy_one_are_woken() {
        let connections = mk_connections(2);
        let slot = connections.admit(PEER, connections.memory.arrival());
        slot.activity.occupy(CONNECTION);
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        let mut busy = pin!(connections.memory.room(Purpose::Input));
        assert!(busy.as_mut().poll(cx).is_pending());
        let next = connections.memory.room(Purpose::Input);
        let room = async {
            tokio::join!(next, async { drop(slot) });
        };
        tokio::select! {
            () = connections.make_room() => {}
            () = room => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn clients_that_all_wait_give_way_eventually() {
        let connections = mk_connections(4);
        let mut slots = Vec::new();
        while connections.memory.has_room(Purpose::Connection) {
            slots.push(connections.admit(PEER, connections.memory.arrival()));
        }
        for slot in &slots {
            slot.activity.received(CONNECTION / 2);
            slot.activity.wait(true);
        }
        tokio::select! {
            () = connections.make_room() => {}
            () = slots[0].activity.evicted() => {}
            () = connections.memory.room(Purpose::Input) => {}
        }
        assert!(slots[0].activity.is_evicted());
    }
}
