//! Watches that survive restarts of the API server.

use std::{future::ready, time::Duration};

use futures_util::{StreamExt, pin_mut, stream::BoxStream};
use kube::{
    Api, Resource,
    runtime::{
        WatchStreamExt,
        utils::Backoff,
        watcher::{Config, Error, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tracing::{debug, warn};

use crate::{
    error::watch_reason,
    partial_meta::{MetadataObject, PartialObject},
};

/// The age in seconds at which a watch is renewed, so that a broken connection is noticed.
const WATCH: u32 = 30;

/// The waits between attempts to watch. They are short, since a change should be in force within
/// two seconds of an API server's return.
pub struct WatchBackoff {
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

/// Returns a watch of the object `name`, which permissions limited to names allow.
pub fn named(name: &str) -> Config {
    all().fields(&format!("metadata.name={name}"))
}

/// Returns a watch of all objects of a kind.
pub fn all() -> Config {
    Config::default().timeout(WATCH)
}

/// The number of objects in a page of a list: a page is held as a whole, as text and then as
/// objects.
pub const PAGE: u32 = 100;

/// Watches the objects that `config` selects, and lists them page by page. A watch that
/// fails is restarted; the log calls its objects `kind`.
pub(crate) fn pages<const WHOLE: bool>(
    api: Api<PartialObject<WHOLE>>,
    config: Config,
    kind: &'static str,
) -> BoxStream<'static, Event<PartialObject<WHOLE>>> {
    let events = watcher(api, config.page_size(PAGE)).backoff(WatchBackoff::default());
    let log = move |error| debug!(error = watch_reason(&error), "restarting the watch of {kind}");
    events.filter_map(move |event| ready(event.map_err(log).ok())).boxed()
}

/// Calls `on_change` with each state of the object `name`, `None` if it is absent, and with
/// each error of the watch. Never ends.
pub async fn follow<K>(api: Api<K>, name: &str, mut on_change: impl FnMut(Result<Option<K>, Error>))
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let events = watcher(api, named(name)).backoff(WatchBackoff::default());
    pin_mut!(events);
    let mut found = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => found = false,
            Ok(Event::Apply(object) | Event::InitApply(object)) => {
                found = true;
                on_change(Ok(Some(object)));
            }
            Ok(Event::InitDone) if found => {}
            Ok(Event::InitDone | Event::Delete(_)) => on_change(Ok(None)),
            Err(error) => on_change(Err(error)),
        }
    }
}

/// Calls `on_change` after each change of the object `name`, with `None` if it is absent.
/// Never ends.
pub(crate) async fn changes(
    api: Api<MetadataObject>,
    name: String,
    on_change: Box<dyn Fn(Option<MetadataObject>) + Send + Sync>,
) {
    let mut failing = false;
    let take = |state: Result<_, Error>| match state {
        Ok(object) => {
            failing = false;
            on_change(object);
        }
        Err(error) => {
            if !failing {
                let error = watch_reason(&error);
                warn!(name, error, "cannot watch the object; it is read periodically");
            }
            failing = true;
        }
    };
    follow(api, &name, take).await;
}
