//! One object, followed through whatever happens to the API server.

use std::{sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt, pin_mut};
use kube::{
    Api, Resource,
    runtime::{
        WatchStreamExt,
        utils::Backoff,
        watcher::{Config, Error, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, watch};
use tracing::{debug, warn};

use crate::{error::watch_reason, partial_meta::ObjectVersion};

/// Seconds after which a watch is renewed, so that a connection that silently
/// died is noticed.
const WATCH: u32 = 30;

/// What is known of an object.
#[derive(Clone, Debug)]
pub(crate) enum ObservedObject<K> {
    /// The API server has not yet told.
    Unknown,
    /// It is not there.
    Absent,
    /// It is there, like this.
    Present(Arc<K>),
}

/// Short waits between attempts: a change is to be in force in two seconds,
/// also after an API server has come back.
pub(crate) struct WatchBackoff {
    next: Duration,
}

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(1);

impl Default for WatchBackoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST);
        Some(wait)
    }
}

impl Backoff for WatchBackoff {
    fn reset(&mut self) {
        self.next = FIRST;
    }
}

/// By name, since that is what we may watch.
pub(crate) fn named(name: &str) -> Config {
    all().fields(&format!("metadata.name={name}"))
}

/// All there are.
pub(crate) fn all() -> Config {
    Config::default().timeout(WATCH)
}

/// The number of objects in a page of a list: a page is held as a whole, as text and then as
/// objects.
pub(crate) const PAGE: u32 = 100;

/// Watches the objects that `config` selects, and lists them page by page.
pub(crate) fn pages<K>(
    api: Api<K>,
    config: Config,
) -> impl Stream<Item = Result<Event<K>, Error>> + use<K>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    watcher(api, config.page_size(PAGE)).backoff(WatchBackoff::default())
}

/// Follows the object `name`, and tells every state of it, for ever.
pub(crate) async fn object<K>(api: Api<K>, name: &str, seen: watch::Sender<ObservedObject<K>>)
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
{
    let events = watcher(api, named(name)).backoff(WatchBackoff::default());
    pin_mut!(events);
    let mut found = false;
    while let Some(event) = events.next().await {
        let state = match event {
            Ok(Event::Init) => {
                found = false;
                continue;
            }
            Ok(Event::Apply(object) | Event::InitApply(object)) => {
                found = true;
                ObservedObject::Present(Arc::new(object))
            }
            Ok(Event::InitDone) if found => continue,
            Ok(Event::InitDone | Event::Delete(_)) => ObservedObject::Absent,
            Err(error) => {
                debug!(name, error = watch_reason(&error), "the watch is begun anew");
                continue;
            }
        };
        seen.send_replace(state);
    }
}

/// Notifies `changed` of every change of the object `name`. Never ends.
pub(crate) async fn changes(api: Api<ObjectVersion>, name: String, changed: Arc<Notify>) {
    watch_names(api, name, |_| changed.notify_one()).await;
}

/// Sends the UID of the object `name` to `last`, whenever one is created. The UID stays
/// when the object is deleted. Never ends.
pub(crate) async fn last_uid(
    api: Api<ObjectVersion>,
    name: String,
    last: watch::Sender<Option<String>>,
) {
    watch_names(api, name, |object| {
        if let Some(uid) = object.and_then(|object| object.meta().uid.clone()) {
            last.send_replace(Some(uid));
        }
    })
    .await;
}

/// Calls `on_change` with the object `name` after each of its changes, and with `None`
/// after its deletion and at the end of a list. Never ends.
async fn watch_names(
    api: Api<ObjectVersion>,
    name: String,
    on_change: impl Fn(Option<&ObjectVersion>),
) {
    let events = watcher(api, named(&name)).backoff(WatchBackoff::default());
    pin_mut!(events);
    let mut failing = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => {}
            Ok(event) => {
                failing = false;
                on_change(match &event {
                    Event::Apply(object) | Event::InitApply(object) => Some(object),
                    _ => None,
                });
            }
            Err(error) => {
                if !failing {
                    let error = watch_reason(&error);
                    warn!(name, error, "cannot be watched; it is read from time to time");
                }
                failing = true;
            }
        }
    }
}
