//! The heartbeat of a workload cluster: a Lease whose annotation summarises its status.
//!
//! The fleet controller measures the age of a heartbeat by its own clock, so clocks need not agree.

use std::{
    future::ready,
    pin::pin,
    time::{Duration, SystemTime},
};

use futures_util::{
    StreamExt as _,
    stream::{self, Stream},
};
use image_swap_cluster::{
    error::watch_code,
    remote::{MetadataWatch, WatchedMetadata, WatchedObject},
};
use image_swap_core::{fleet::pace::BeatPace, status::cluster_summary::ClusterSummary};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt as _,
        watcher::{Config, Error, Event, watcher},
    },
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use tracing::debug;

use crate::remote::RemoteCluster;

/// Time without a heartbeat after which the last one is stale.
pub const STALE_AFTER: Duration = Duration::from_mins(3);
/// Time without a heartbeat of a cluster that pulls, after which the last one is stale: three
/// renewals.
pub const PULL_STALE_AFTER: Duration = Duration::from_mins(15);

/// Heartbeat of a workload cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeartbeatState {
    /// Summary in the last heartbeat; `None` if it has none that can be read.
    pub summary: Option<ClusterSummary>,
    /// Receipt of the last heartbeat, by the clock of this machine; `None` before the first.
    pub received: Option<SystemTime>,
    /// True if no heartbeat has arrived within `stale_after` of [`follow`].
    pub is_stale: bool,
    /// True while the API server answers the watch.
    pub is_watched: bool,
    /// HTTP status with which the API server last refused the watch; `None` while it answers, and
    /// without an answer.
    pub refused: Option<u16>,
}

/// Follows the Lease `name` in `namespace`, by one watch. A heartbeat is stale if none has arrived
/// for `stale_after`.
///
/// A receiver is notified of changes of the summary, of the watch and of staleness.
/// [`HeartbeatState::received`] alone changes without a notification. Of many heartbeats the latest
/// in a second is read ([`BeatPace`]). The task ends when no receiver is left.
pub fn follow(
    client: Client,
    namespace: &str,
    name: &str,
    stale_after: Duration,
) -> (watch::Receiver<HeartbeatState>, JoinHandle<()>) {
    let leases: Api<PartialObjectMeta<Lease>> = Api::namespaced(client, namespace);
    let begin = move |name: &str| {
        let only = Config::default().fields(&format!("metadata.name={name}"));
        watcher(leases.clone(), only).default_backoff().filter_map(|event| ready(watched(event)))
    };
    follow_watch(begin, name, stale_after)
}

/// Follows the Lease `name` in `namespace` of the workload cluster `remote`, as [`follow`]. It needs
/// less memory than a client of kube.
pub fn follow_remote(
    remote: &RemoteCluster,
    namespace: &str,
    name: &str,
    stale_after: Duration,
) -> (watch::Receiver<HeartbeatState>, JoinHandle<()>) {
    let client = remote.inner().clone();
    let collection = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases");
    let begin = move |name: &str| {
        let lease = MetadataWatch::new(&client, &collection, name);
        // An asynchronous closure would hold the watch twice.
        stream::unfold(lease, |mut lease| async move {
            let event = lease.next().await;
            Some((event, lease))
        })
    };
    follow_watch(begin, name, stale_after)
}

/// Follows the Lease `name` by the watch that `begin` returns. Begins another watch when a heartbeat
/// is overdue.
fn follow_watch<W>(
    begin: impl Fn(&str) -> W + Send + 'static,
    name: &str,
    stale_after: Duration,
) -> (watch::Receiver<HeartbeatState>, JoinHandle<()>)
where
    W: Stream<Item = WatchedMetadata> + Send + 'static,
{
    let (sender, receiver) = watch::channel(HeartbeatState::default());
    let name = name.to_owned();
    let task = tokio::spawn(async move {
        let mut receipt = HeartbeatReceipt::begin(Instant::now(), stale_after);
        loop {
            let mut events = pin!(begin(&name));
            loop {
                let event = tokio::select! {
                    event = events.next() => event,
                    () = sleep_until(receipt.read_at()), if receipt.is_waiting() => {
                        receipt.read_waiting(Instant::now(), &sender);
                        continue;
                    }
                    () = sleep_until(receipt.due) => {
                        receipt.overdue(Instant::now(), &sender);
                        // The connection may be broken without a sign of it.
                        break;
                    }
                    () = sender.closed() => return,
                };
                match event {
                    Some(WatchedMetadata::Present(lease)) => {
                        receipt.note(lease, Instant::now(), &sender);
                    }
                    Some(WatchedMetadata::Absent) => answered(&sender),
                    Some(WatchedMetadata::Failed(code)) => fail(code, &name, &sender),
                    None => break,
                }
            }
        }
    });
    (receiver, task)
}

/// Returns an event of kube's watcher as one of [`MetadataWatch`]; `None` without a response.
fn watched(event: Result<Event<PartialObjectMeta<Lease>>, Error>) -> Option<WatchedMetadata> {
    Some(match event {
        // Sent before the first request.
        Ok(Event::Init) => return None,
        Ok(Event::Apply(lease) | Event::InitApply(lease)) => {
            WatchedMetadata::Present(lease.metadata.into())
        }
        // The end of a list follows a Lease that exists, and shows a response in any case.
        Ok(Event::InitDone | Event::Delete(_)) => WatchedMetadata::Absent,
        Err(error) => WatchedMetadata::Failed(watch_code(&error)),
    })
}

/// State of received heartbeats.
struct HeartbeatReceipt {
    /// Version of the Lease that arrived last; empty before the first.
    version: String,
    /// Time at which the next heartbeat is overdue.
    due: Instant,
    stale_after: Duration,
    begun: Instant,
    /// Summaries of heartbeats.
    pace: BeatPace<String>,
}

impl HeartbeatReceipt {
    fn begin(now: Instant, stale_after: Duration) -> Self {
        let pace = BeatPace::default();
        Self { version: String::new(), due: now + stale_after, stale_after, begun: now, pace }
    }

    /// Notes the state of a Lease. A repeated list returns the last heartbeat again, which counts
    /// once. A Lease without a summary is none: an enrolment created it. The summary is read, or
    /// waits.
    fn note(&mut self, lease: WatchedObject, now: Instant, sender: &watch::Sender<HeartbeatState>) {
        let WatchedObject { version, summary } = lease;
        let is_known = !version.is_empty() && self.version == version;
        let Some(text) = summary.filter(|_| !is_known) else { return answered(sender) };
        self.version = version;
        self.due = now + self.stale_after;
        if let Some(text) = self.pace.offer(text, now - self.begun) {
            read(&text, sender);
        }
        answered(sender);
    }

    /// Returns true if a summary waits.
    const fn is_waiting(&self) -> bool {
        self.pace.due().is_some()
    }

    /// Returns the time at which the waiting summary is read.
    fn read_at(&self) -> Instant {
        self.begun + self.pace.due().unwrap_or_default()
    }

    /// Reads the waiting summary if it is due.
    fn read_waiting(&mut self, now: Instant, sender: &watch::Sender<HeartbeatState>) {
        if let Some(text) = self.pace.take(now - self.begun) {
            read(&text, sender);
        }
    }

    /// Notes that the next heartbeat is overdue.
    fn overdue(&mut self, now: Instant, sender: &watch::Sender<HeartbeatState>) {
        self.due = now + self.stale_after;
        sender.send_if_modified(|state| !std::mem::replace(&mut state.is_stale, true));
    }
}

/// Reads the summary `text` of a heartbeat.
fn read(text: &str, sender: &watch::Sender<HeartbeatState>) {
    let summary = ClusterSummary::parse(text);
    sender.send_if_modified(|state| {
        let is_first = state.received.replace(SystemTime::now()).is_none();
        let is_new = is_first || state.is_stale || state.summary != summary;
        state.is_stale = false;
        state.summary = summary;
        is_new
    });
}

/// Notes that the API server answers the watch.
fn answered(sender: &watch::Sender<HeartbeatState>) {
    sender.send_if_modified(|state| {
        let was_refused = state.refused.take().is_some();
        !std::mem::replace(&mut state.is_watched, true) || was_refused
    });
}

/// Notes that the watch failed. It is restarted after a wait.
fn fail(code: Option<u16>, name: &str, sender: &watch::Sender<HeartbeatState>) {
    debug!(name, code, "restarting the watch of the heartbeat");
    sender.send_if_modified(|state| {
        let was_watched = std::mem::replace(&mut state.is_watched, false);
        std::mem::replace(&mut state.refused, code) != code || was_watched
    });
}

#[cfg(test)]
mod tests {
    use image_swap_core::labels::SUMMARY;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;

    fn lease(version: &str, summary: &str) -> WatchedObject {
        WatchedObject { version: version.into(), summary: Some(summary.into()) }
    }

    #[tokio::test(start_paused = true)]
    async fn repeated_list_is_no_heartbeat() {
        let (sender, mut state) = watch::channel(HeartbeatState::default());
        let begun = Instant::now();
        let mut receipt = HeartbeatReceipt::begin(begun, STALE_AFTER);
        receipt.note(lease("1", r#"{"hash":"a"}"#), begun, &sender);
        assert!(state.has_changed().unwrap());
        assert_eq!(state.borrow_and_update().summary.as_ref().unwrap().hash, "a");
        let later = begun + Duration::from_mins(1);
        receipt.note(lease("1", r#"{"hash":"a"}"#), later, &sender);
        assert_eq!(receipt.due, begun + STALE_AFTER);
        // The next heartbeat has the same summary, and notifies no receiver.
        receipt.note(lease("2", r#"{"hash":"a"}"#), later, &sender);
        assert_eq!(receipt.due, later + STALE_AFTER);
        assert!(!state.has_changed().unwrap());
        // The third one follows at once, and is read a second after the second one.
        receipt.note(lease("3", r#"{"hash":"b"}"#), later, &sender);
        assert!(!state.has_changed().unwrap() && receipt.is_waiting());
        receipt.read_waiting(receipt.read_at(), &sender);
        assert!(!receipt.is_waiting());
        assert_eq!(state.borrow_and_update().summary.as_ref().unwrap().hash, "b");
    }

    #[tokio::test(start_paused = true)]
    async fn overdue_heartbeat_keeps_its_summary() {
        let (sender, mut state) = watch::channel(HeartbeatState::default());
        let now = Instant::now();
        let mut receipt = HeartbeatReceipt::begin(now, STALE_AFTER);
        receipt.note(lease("1", r#"{"hash":"a"}"#), now, &sender);
        receipt.overdue(now, &sender);
        assert!(state.borrow_and_update().is_stale);
        receipt.overdue(now, &sender);
        assert!(!state.has_changed().unwrap());
        assert_eq!(state.borrow().summary.as_ref().unwrap().hash, "a");
        let later = now + STALE_AFTER;
        receipt.note(lease("2", r#"{"hash":"a"}"#), later, &sender);
        assert!(state.has_changed().unwrap() && !state.borrow_and_update().is_stale);
    }

    #[tokio::test]
    async fn lease_of_an_enrolment_is_no_heartbeat() {
        let (sender, state) = watch::channel(HeartbeatState::default());
        let mut receipt = HeartbeatReceipt::begin(Instant::now(), PULL_STALE_AFTER);
        let empty = WatchedObject { summary: None, ..lease("1", "") };
        receipt.note(empty, Instant::now(), &sender);
        let state = state.borrow();
        assert!(state.is_watched && state.received.is_none());
    }

    #[tokio::test]
    async fn oversized_summary_is_ignored() {
        let (sender, state) = watch::channel(HeartbeatState::default());
        let mut receipt = HeartbeatReceipt::begin(Instant::now(), STALE_AFTER);
        let long = format!(r#"{{"hash":"{}"}}"#, "a".repeat(20_000));
        let metadata = ObjectMeta {
            annotations: Some([(SUMMARY.to_owned(), long)].into()),
            ..ObjectMeta::default()
        };
        receipt.note(metadata.into(), Instant::now(), &sender);
        let state = state.borrow();
        assert!(state.summary.is_none() && state.received.is_some());
    }

    #[tokio::test]
    async fn refused_watch_is_reported_once() {
        let (sender, mut state) = watch::channel(HeartbeatState::default());
        let refused = || {
            let status = kube::core::Status::failure("secret words", "Forbidden").with_code(403);
            Error::WatchError(Box::new(status))
        };
        fail(watch_code(&refused()), "a", &sender);
        assert_eq!(state.borrow_and_update().refused, Some(403));
        fail(watch_code(&refused()), "a", &sender);
        assert!(!state.has_changed().unwrap());
        answered(&sender);
        let state = state.borrow();
        assert!(state.is_watched && state.refused.is_none());
    }
}
