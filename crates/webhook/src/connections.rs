//! The connections that are open, and who has to go when there are too many.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::activity::Activity;

/// How long a newcomer waits for a place before it looks again for a connection
/// to replace: all may have been busy.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// The open connections of one listener.
///
/// Without places to take, a client that opens connections and leaves them
/// would hold everybody's memory; with places alone it would keep everybody
/// else out. So when none is left, a connection has to go: one that never had a
/// request before one that had, and of these the one that has been idle longest.
#[derive(Debug)]
pub(crate) struct Connections {
    places: Arc<Semaphore>,
    count: u32,
    linger: Duration,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, Arc<Activity>>,
}

impl Connections {
    /// Places for `count` connections; one that had a request keeps its own for
    /// `linger` after it.
    pub(crate) fn new(count: u32, linger: Duration) -> Arc<Self> {
        let count = count.max(1);
        Arc::new(Self {
            places: Arc::new(Semaphore::new(count as usize)),
            count,
            linger,
            open: Mutex::default(),
        })
    }

    /// Takes a place, if need be that of another connection.
    ///
    /// `None` if there are to be no more connections, which never happens
    /// while the server runs.
    pub(crate) async fn enter(self: &Arc<Self>) -> Option<Place> {
        let permit = loop {
            if self.places.available_permits() == 0 {
                self.ask_one_to_leave();
            }
            let place = Arc::clone(&self.places).acquire_owned();
            if let Ok(permit) = timeout(ASK_AGAIN, place).await {
                break permit.ok()?;
            }
        };
        let activity = Arc::new(Activity::new(self.linger));
        let mut open = self.open();
        let id = open.next;
        open.next += 1;
        open.connections.insert(id, Arc::clone(&activity));
        drop(open);
        Some(Place { id, activity, connections: Arc::clone(self), _permit: permit })
    }

    fn ask_one_to_leave(&self) {
        let open = self.open();
        let found = open.connections.values().max_by_key(|one| one.dispensable());
        if let Some(one) = found.filter(|one| one.dispensable().is_some()) {
            one.ask_to_leave();
        }
    }

    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.open().connections.len()
    }

    /// Waits until every place is free. Nobody can enter from then on.
    pub(crate) async fn all_left(&self) {
        if let Ok(every) = self.places.acquire_many(self.count).await {
            every.forget();
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        // Nothing panics while holding it; and a map is a map even then.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place; free again when this drops.
#[derive(Debug)]
pub(crate) struct Place {
    id: u64,
    /// What the connection in it is doing.
    pub(crate) activity: Arc<Activity>,
    connections: Arc<Connections>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.open().connections.remove(&self.id);
    }
}
