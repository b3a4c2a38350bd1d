//! Keeps the Secret with which nodes pull swapped images: in each namespace that
//! holds a swapped pod, and nowhere else.
//!
//! A pod is stored before its namespace is known to hold one, so it may wait for
//! the Secret: the kubelet tries again, and we are told of the pod by a watch.
//! Of pods and Secrets no more is kept than what tells what to do: a cluster has
//! many.

mod existing;
mod pods;
mod write;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::{StreamExt, pin_mut, stream};
use image_swap_core::{
    cluster::{
        pull_secrets::{Action, Swapped, plan},
        webhooks::Owner,
    },
    declaration::UnixTime,
};
use kube::{Client, runtime::watcher};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};
use tracing::{debug, info, warn};

use self::{
    existing::{Existing, Fingerprint, SeenSecret},
    write::{Outcome, Writer},
};
use crate::{
    clock::now, error::watch_reason, events::Events, outline::Glimpse, release::Release,
    report::PullSecrets,
};

/// How many objects are read at once: a page is held as a whole, as text and then as
/// objects.
const PAGE: u32 = 100;
/// Writes at once: many namespaces are one change of a password.
const AT_ONCE: usize = 8;
/// Writes between two looks at what else happened.
const IN_A_ROW: usize = 32;
/// Namespaces that a report names.
const NAMED: usize = 100;
/// The first wait of a namespace in which a write failed, and the longest.
const RETRY: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(30)];

/// What is to be done. It holds the password: it is not to be printed.
#[derive(PartialEq, Eq)]
pub(crate) enum Order {
    /// Nothing is known yet, or the release leaves: everything stays.
    Rest,
    /// The Secret is to be there, where it is needed.
    Keep {
        /// Whom it belongs to.
        owner: Owner,
        /// What it holds; `None`: nobody has to authenticate, and it is to go.
        content: Option<Vec<u8>>,
    },
}

/// What a keeper works with.
pub(crate) struct Keeper {
    pub(crate) client: Client,
    pub(crate) release: Release,
    pub(crate) events: Events,
    /// What is to be done.
    pub(crate) orders: watch::Receiver<Order>,
    /// What was done.
    pub(crate) report: watch::Sender<PullSecrets>,
    /// Poked when the report says something that others should know.
    pub(crate) changed: Arc<Notify>,
    /// How long a namespace keeps the Secret after its last swapped pod.
    pub(crate) linger: Duration,
}

/// What is known of the cluster.
#[derive(Default)]
struct Known {
    swapped: Swapped,
    /// Whether all pods were seen.
    pods: bool,
    existing: Existing,
    /// Whether all Secrets were seen.
    secrets: bool,
    /// Namespaces in which a write failed.
    waiting: BTreeMap<String, Waiting>,
    /// Namespaces with a Secret of somebody else that was told of.
    told: std::collections::BTreeSet<String>,
    /// Why the last write failed.
    error: Option<String>,
    writes: u64,
}

struct Waiting {
    until: Instant,
    wait: Duration,
}

impl Keeper {
    /// Keeps it, for ever.
    pub(crate) async fn run(mut self) {
        let mut known = Known::default();
        let secrets = existing::watch(&self.client);
        // Without a credential nobody looks at pods.
        let pods = pods::watch_after(&self.client, self.orders.clone());
        pin_mut!(secrets, pods);
        let mut due = false;
        loop {
            let wake = known.wake(self.linger);
            tokio::select! {
                // First what happened, then what to do about it.
                biased;
                Some(event) = secrets.next() => due |= known.secret(event),
                Some(event) = pods.next() => due |= known.pod(event, now()),
                changed = self.orders.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    known.waiting.clear();
                    due = true;
                }
                () = std::future::ready(()), if due => due = self.act(&mut known).await,
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => due = true,
            }
        }
    }

    /// Does some of what is to be done; whether there is more.
    async fn act(&mut self, known: &mut Known) -> bool {
        let (writer, content) = match &*self.orders.borrow_and_update() {
            Order::Rest => return false,
            Order::Keep { owner, content } => {
                (Writer::new(&self.client, &self.release, owner), content.clone())
            }
        };
        // What was not yet seen must not be taken for gone.
        if !known.secrets || (content.is_some() && !known.pods) {
            return false;
        }
        let object = content.map(|content| writer.object(&content));
        let wanted = object.as_ref().map(Fingerprint::of_wanted);
        let is_ours = &self.release.name;
        let existing = known.existing.state(is_ours, wanted.as_ref());
        let swapped = known.swapped.namespaces(now(), self.linger.as_secs());
        let plan = plan(object.is_some(), &swapped, &existing);
        self.tell(known, &plan).await;
        let at = Instant::now();
        known.waiting.retain(|namespace, _| plan.contains_key(namespace));
        let mut actions = plan.iter().filter(|(namespace, action)| {
            **action != Action::Foreign
                && known.waiting.get(*namespace).is_none_or(|it| it.until <= at)
        });
        let some: Vec<_> = actions
            .by_ref()
            .take(IN_A_ROW)
            .map(|(namespace, action)| {
                writer.carry_out(namespace, *action, object.as_ref(), known.existing.get(namespace))
            })
            .collect();
        let is_more = actions.next().is_some();
        let outcomes: Vec<_> = stream::iter(some).buffer_unordered(AT_ONCE).collect().await;
        for (namespace, outcome) in outcomes {
            known.note(namespace, outcome);
        }
        let kept = object.is_some();
        let wanted = object.as_ref().map(Fingerprint::of_wanted);
        let state = known.existing.state(is_ours, wanted.as_ref());
        self.publish(&PullSecrets {
            kept,
            namespaces: state.values().filter(|it| it.ours && it.current && kept).count(),
            foreign: known.told.iter().take(NAMED).cloned().collect(),
            foreign_count: known.told.len(),
            failed: known.waiting.len(),
            error: known.error.clone().filter(|_| !known.waiting.is_empty()),
            writes: known.writes,
        });
        is_more
    }

    /// Says of each Secret of our name that is somebody else's that it stays.
    async fn tell(&self, known: &mut Known, plan: &BTreeMap<String, Action>) {
        let is_foreign = |namespace: &str| plan.get(namespace) == Some(&Action::Foreign);
        known.told.retain(|namespace| is_foreign(namespace));
        for namespace in plan.keys().filter(|namespace| is_foreign(namespace)) {
            if !known.told.insert(namespace.clone()) {
                continue;
            }
            warn!(namespace, "a Secret of our name is somebody else's: it stays as it is");
            let Some(found) = known.existing.get(namespace) else { continue };
            let note = "expected no Secret of this name, or one that image-swap made; this one is \
                        somebody else's and stays as it is, so swapped pods are pulled with it: \
                        rename it, or delete it";
            let about = found.reference(namespace);
            self.events.warn_of(&about, "PullSecretNotOurs", note).await;
        }
    }

    fn publish(&self, report: &PullSecrets) {
        let mut news = false;
        self.report.send_if_modified(|before| {
            // The count alone is no reason for anybody to hurry.
            news = before.foreign_count != report.foreign_count
                || before.failed != report.failed
                || before.kept != report.kept;
            let differs = before != report;
            before.clone_from(report);
            differs
        });
        if news {
            self.changed.notify_one();
        }
    }
}

impl Known {
    /// When there is something to do although nothing happens.
    fn wake(&self, linger: Duration) -> Option<Instant> {
        let retries = self.waiting.values().map(|it| it.until).min();
        let forgotten = self.swapped.next(linger.as_secs()).map(|at| {
            // One second for what the clock rounds off.
            Instant::now() + Duration::from_secs(at.saturating_sub(now()).max(1))
        });
        retries.into_iter().chain(forgotten).min()
    }

    /// Takes note of a Secret of our name; whether there is something to do.
    fn secret(&mut self, event: Result<watcher::Event<SeenSecret>, watcher::Error>) -> bool {
        match event {
            Ok(watcher::Event::Init) => self.existing.begin_list(),
            Ok(watcher::Event::InitApply(secret)) => self.existing.list(&secret),
            Ok(watcher::Event::InitDone) => {
                self.existing.end_list();
                self.secrets = true;
                return true;
            }
            Ok(watcher::Event::Apply(secret)) => {
                self.waiting.remove(secret.namespace().unwrap_or_default());
                self.existing.add(&secret);
                return true;
            }
            Ok(watcher::Event::Delete(secret)) => {
                self.existing.remove(&secret);
                return true;
            }
            Err(error) => {
                debug!(error = watch_reason(&error), "the watch of pull Secrets is begun anew");
            }
        }
        false
    }

    /// Takes note of a pod; whether there is something to do.
    fn pod(
        &mut self,
        event: Result<watcher::Event<Glimpse>, watcher::Error>,
        now: UnixTime,
    ) -> bool {
        match event {
            Ok(watcher::Event::Init) => self.swapped.begin_list(),
            Ok(watcher::Event::InitApply(pod)) => {
                if let Some((namespace, name)) = pod.name().filter(|_| pod.is_swapped) {
                    self.swapped.list(namespace, name);
                }
            }
            Ok(watcher::Event::InitDone) => {
                self.swapped.end_list(now);
                self.pods = true;
                return true;
            }
            Ok(watcher::Event::Apply(pod)) => {
                let Some((namespace, name)) = pod.name() else { return false };
                if pod.is_swapped {
                    return self.swapped.add(namespace, name);
                }
                self.swapped.remove(namespace, name, now);
            }
            Ok(watcher::Event::Delete(pod)) => {
                if let Some((namespace, name)) = pod.name() {
                    self.swapped.remove(namespace, name, now);
                }
            }
            Err(error) => debug!(error = watch_reason(&error), "the watch of pods is begun anew"),
        }
        false
    }

    /// Takes note of what became of a write.
    fn note(&mut self, namespace: String, outcome: Outcome) {
        match outcome {
            Outcome::Written(secret) => {
                info!(namespace, "the pull Secret is written");
                self.writes += 1;
                self.waiting.remove(&namespace);
                self.existing.add(&secret);
            }
            Outcome::Deleted => {
                info!(namespace, "the pull Secret is deleted");
                self.writes += 1;
                self.waiting.remove(&namespace);
                self.existing.forget(&namespace);
            }
            Outcome::Failed(error) => {
                if let Some(error) = error {
                    warn!(
                        namespace,
                        error, "the pull Secret could not be written; it is tried again"
                    );
                    self.error = Some(error);
                }
                let [first, longest] = RETRY;
                let wait =
                    self.waiting.get(&namespace).map_or(first, |it| (it.wait * 2).min(longest));
                let until = Instant::now() + wait;
                self.waiting.insert(namespace, Waiting { until, wait });
            }
        }
    }
}
