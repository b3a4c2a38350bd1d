//! Connections of a listener, the bytes they hold, and the order in which they
//! give way when either is used up.

use std::{
    cmp::Reverse,
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{
    activity::Activity,
    ledger::{CONNECTION, Class, Crowd, Ledger, Victim},
    limits::Limits,
    place::Place,
};

/// Time between two looks for work that can give way, while there is none.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Milliseconds for which a large body does not give way: a client that sends it
/// as fast as it can is done by then.
const PROGRESS: u64 = 250;
/// Part of the memory that is freed beyond what is needed, so that the next
/// need does not look at all connections as well.
const SLACK: usize = 32;

/// Open connections of one listener, and the memory they share.
///
/// Any client may use what is free. When nothing is, unfinished work gives way:
/// handshakes, heads and bodies that are not complete, and answers that nobody
/// reads. The address with the most bytes in such work gives way first, its oldest
/// incomplete input before its oldest unread answer. Idle connections give way
/// instead while they hold more than any address's unfinished work. A review whose
/// body is complete never gives way.
#[derive(Debug)]
pub(crate) struct Connections {
    places: Arc<Semaphore>,
    count: u32,
    linger: Duration,
    /// Beginning of all millisecond counts.
    origin: Instant,
    memory: usize,
    large_memory: usize,
    /// Bytes held of `memory`.
    common: AtomicUsize,
    /// Bytes held of `large_memory`.
    large: AtomicUsize,
    /// Notified when bytes of `large_memory` are free again.
    large_freed: Notify,
    next: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Activity>>>,
}

/// Resource that is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scarce {
    Places,
    Memory,
    LargeMemory,
}

/// Work that can give way, found by one look at all connections.
#[derive(Debug, Default)]
struct Found {
    crowds: HashMap<IpAddr, Crowd>,
    /// Idle connections: time of idleness, number, bytes.
    idle: Vec<(Duration, u64, usize)>,
    /// Bytes of idle connections that were already requested to leave.
    leaving: usize,
}

impl Connections {
    /// Makes room for connections within `limits`; one that had a request is kept
    /// for `linger` after it.
    pub(crate) fn new(limits: &Limits, count: u32, linger: Duration) -> Arc<Self> {
        let count = count.max(1);
        Arc::new(Self {
            places: Arc::new(Semaphore::new(count as usize)),
            count,
            linger,
            origin: Instant::now(),
            memory: limits.memory,
            large_memory: limits.large_memory,
            common: AtomicUsize::new(0),
            large: AtomicUsize::new(0),
            large_freed: Notify::new(),
            next: AtomicU64::new(0),
            open: Mutex::default(),
        })
    }

    /// Takes a place for a client at `address`, if need be that of another
    /// connection.
    ///
    /// `None` if there are to be no more connections, which never happens
    /// while the server runs.
    pub(crate) async fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Arc<Place>> {
        let permit = loop {
            if self.places.available_permits() == 0 {
                self.make_room_for_one();
            }
            let place = Arc::clone(&self.places).acquire_owned();
            if let Ok(permit) = timeout(LOOK_AGAIN, place).await {
                break permit.ok()?;
            }
        };
        Some(self.admit(address, permit))
    }

    /// Has one connection give way.
    pub(crate) fn make_room_for_one(&self) {
        self.make_room(Scarce::Places, 1);
    }

    fn admit(self: &Arc<Self>, address: IpAddr, permit: OwnedSemaphorePermit) -> Arc<Place> {
        let activity = Arc::new(Activity::new(address, self.linger, self.origin));
        let id = self.next_id();
        self.open().insert(id, Arc::clone(&activity));
        // A newcomer is the last of its address to give way.
        let _ = self.change(&activity, |ledger| ledger.common += CONNECTION);
        Arc::new(Place { id, activity, connections: Arc::clone(self), _permit: permit })
    }

    /// Returns a number greater than all before.
    pub(crate) fn next_id(&self) -> u64 {
        self.next.fetch_add(1, Relaxed)
    }

    /// Changes the bytes that a connection holds, and makes room if they are more
    /// than there are. Returns false if the connection gave way.
    pub(crate) fn change(&self, activity: &Activity, change: impl FnOnce(&mut Ledger)) -> bool {
        let mut ledger = activity.ledger();
        if ledger.cut {
            return false;
        }
        let (common, large) = (ledger.common, ledger.large);
        change(&mut ledger);
        if ledger.large < large {
            self.large.fetch_sub(large - ledger.large, Relaxed);
            self.large_freed.notify_waiters();
        } else if ledger.large > large {
            self.large.fetch_add(ledger.large - large, Relaxed);
        }
        let Some(more) = ledger.common.checked_sub(common).filter(|more| *more > 0) else {
            self.common.fetch_sub(common - ledger.common, Relaxed);
            return true;
        };
        drop(ledger);
        let held = self.common.fetch_add(more, Relaxed) + more;
        if let Some(excess) = held.checked_sub(self.memory).filter(|excess| *excess > 0) {
            self.make_room(Scarce::Memory, excess);
            return !activity.ledger().cut;
        }
        true
    }

    /// Waits until a large body may hold `more` bytes.
    ///
    /// Bodies that make no progress give way; complete ones take the time of their
    /// review.
    pub(crate) async fn large_room(&self, more: usize) {
        loop {
            let freed = self.large_freed.notified();
            let held = self.large.load(Relaxed) + more;
            let Some(excess) = held.checked_sub(self.large_memory).filter(|it| *it > 0) else {
                return;
            };
            if self.make_room(Scarce::LargeMemory, excess) < excess {
                let _ = timeout(LOOK_AGAIN, freed).await;
            }
        }
    }

    /// Has unfinished work or idle connections give way; returns the bytes, or
    /// places, that are free or will be in a moment.
    fn make_room(&self, scarce: Scarce, needed: usize) -> usize {
        let open = self.open();
        let mut found = Found::default();
        for (id, activity) in &*open {
            found.look_at(*id, activity, scarce);
        }
        let mut freed = 0;
        let mut goal = needed;
        if scarce == Scarce::Memory {
            freed = found.leaving;
            if freed < needed {
                goal = needed.saturating_add(self.memory / SLACK);
            }
        }
        for crowd in found.crowds.values_mut() {
            crowd.victims.sort_unstable_by_key(|victim| Reverse(*victim));
        }
        found.idle.sort_unstable();
        let mut idle_bytes: usize = found.idle.iter().map(|(_, _, bytes)| bytes).sum();
        while freed < goal {
            let crowd = found
                .crowds
                .values_mut()
                .filter(|crowd| !crowd.victims.is_empty())
                .max_by_key(|crowd| crowd.bytes);
            let given = if let Some(crowd) = crowd.filter(|it| it.bytes >= idle_bytes) {
                let Some(victim) = crowd.victims.pop() else { break };
                let Some(activity) = open.get(&victim.connection) else { continue };
                let bytes = self.cut(activity, victim.body);
                crowd.bytes = crowd.bytes.saturating_sub(bytes.max(1));
                bytes
            } else if let Some((_, id, bytes)) = found.idle.pop() {
                idle_bytes -= bytes;
                if let Some(activity) = open.get(&id) {
                    activity.ask_to_leave();
                }
                bytes
            } else {
                break;
            };
            freed += if scarce == Scarce::Places { 1 } else { given };
        }
        freed
    }

    /// Has a body, or the whole connection, give way; returns the bytes that it held.
    fn cut(&self, activity: &Activity, body: Option<u64>) -> usize {
        let mut ledger = activity.ledger();
        let (common, large) = if let Some(id) = body {
            let Some(at) = ledger.bodies.iter().position(|body| body.id == id) else { return 0 };
            let body = ledger.bodies.swap_remove(at);
            body.cut.notify_one();
            let held = if body.large { (0, body.bytes) } else { (body.bytes, 0) };
            ledger.common -= held.0;
            ledger.large -= held.1;
            held
        } else {
            let held = (ledger.common, ledger.large);
            *ledger = Ledger { cut: true, ..Ledger::default() };
            activity.cut.notify_one();
            held
        };
        drop(ledger);
        self.common.fetch_sub(common, Relaxed);
        if large > 0 {
            self.large.fetch_sub(large, Relaxed);
            self.large_freed.notify_waiters();
        }
        common + large
    }

    /// Forgets a connection and all that it held.
    pub(crate) fn leave(&self, id: u64, activity: &Activity) {
        self.open().remove(&id);
        self.cut(activity, None);
    }

    /// Returns the number of open connections.
    pub(crate) fn len(&self) -> usize {
        self.open().len()
    }

    /// Waits until every place is free. No connection can enter from then on.
    pub(crate) async fn all_left(&self) {
        if let Ok(every) = self.places.acquire_many(self.count).await {
            every.forget();
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Arc<Activity>>> {
        // Nothing panics while holding it; and a map is a map even then.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Found {
    /// Adds the work of one connection that can give way.
    fn look_at(&mut self, id: u64, activity: &Activity, scarce: Scarce) {
        let ledger = activity.ledger();
        if ledger.cut {
            return;
        }
        let mut add = |bytes: usize, class: Class, since: u64, body: Option<u64>| {
            let crowd = self
                .crowds
                .entry(activity.address)
                .or_insert_with(|| Crowd { bytes: 0, victims: Vec::new() });
            crowd.bytes += bytes;
            crowd.victims.push(Victim { class, since, connection: id, body });
        };
        if scarce == Scarce::LargeMemory {
            let now = activity.now();
            for body in ledger.bodies.iter().filter(|body| body.large && !body.complete) {
                if body.since + PROGRESS <= now {
                    add(body.bytes, Class::Input, body.since, Some(body.id));
                }
            }
            return;
        }
        let unfinished = ledger.unfinished();
        // A review that is being answered does not give way.
        let reviewing = activity.requests() > unfinished;
        let unread = ledger.answers.first().map(|answer| answer.since);
        let unread = unread.into_iter().chain(activity.stalled_since()).min();
        let bytes = ledger.common;
        if let Some(since) = activity.unfinished_since() {
            add(bytes, Class::Input, since, None);
        } else if let Some(since) = unread {
            let class = if unfinished > 0 { Class::Input } else { Class::Answer };
            // A client that reads needs no second.
            if !reviewing || activity.now() > since + 1000 {
                add(bytes, class, since, None);
            }
        } else if unfinished > 0 {
            let mut left = bytes;
            let whole = !reviewing && (unfinished == 1 || scarce == Scarce::Places);
            for body in ledger.bodies.iter().filter(|body| !body.complete) {
                if whole {
                    add(left, Class::Input, body.since, None);
                    break;
                }
                if scarce == Scarce::Memory && !body.large {
                    // What belongs to no body counts once.
                    add(left.max(body.bytes), Class::Input, body.since, Some(body.id));
                    left = 0;
                }
            }
        } else if let Some(idle) = activity.dispensable() {
            if activity.is_leaving() {
                self.leaving += bytes;
            } else {
                self.idle.push((idle, id, bytes));
            }
        }
    }
}
