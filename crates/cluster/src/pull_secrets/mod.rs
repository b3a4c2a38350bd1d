//! Keeps the Secret with which nodes pull swapped images in each namespace with a swapped pod, and
//! in no other.
//!
//! A pod is stored before the controller knows that its namespace has a swapped pod, so the pod may
//! wait for the Secret. The kubelet tries again, and a watch reports the pod to the controller. Of
//! pods, namespaces and Secrets only the fields that decide are kept, since a cluster may have many
//! of them.

mod existing;
mod leave;
mod namespaces;
mod pods;
mod write;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use image_swap_core::{
    control::{
        pull_secrets::{Pods, PullSecretAction, plan},
        rate_limit::TokenBucket,
        webhooks::NamespaceScope,
    },
    declaration::UnixTime,
    pull_secret::{CoveredImages, NAME},
    status::{PullSecretFailure, PullSecretStatus},
};
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use kube::{Client, runtime::watcher::Event};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};
use tracing::{info, warn};

use self::{
    existing::{ExistingSecrets, Fingerprint, reference},
    namespaces::SelectedNamespaces,
    pods::secret_use,
    write::{WriteOutcome, Writer},
};
pub(crate) use self::{leave::leave, pods::images};
use crate::{
    api,
    clock::now,
    events::Events,
    object_watch::{all, named, pages},
    partial_meta::{MetadataObject, WholeObject},
    release::Release,
    report::send_new,
};

/// The writes at a time. A changed password concerns many namespaces.
const AT_ONCE: usize = 8;
/// The writes between two checks for other events.
const IN_A_ROW: usize = 32;
/// The namespaces that a report names.
const NAMED: usize = 100;
/// The wait after a Secret was left to its pods. The controller of the leaving release ends
/// earlier.
const LEAVING: Duration = Duration::from_secs(10);
/// The first wait of a namespace in which a write failed, and the longest.
const RETRY: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(30)];

/// The wanted pull Secret. The value contains the password and must not be printed.
#[derive(Default, PartialEq, Eq)]
pub(crate) enum DesiredPullSecret {
    /// Every Secret stays unchanged: no declaration was read yet, or the release leaves.
    #[default]
    Unknown,
    /// The Secret has to exist in each namespace that needs it.
    Present {
        /// The credential; [`None`] if none is declared, so that Secrets are removed.
        content: Option<Vec<u8>>,
        /// The images that are pulled with it, in the namespaces that the registration
        /// selects.
        view: SecretScope,
    },
}

/// The images and namespaces that decide which pods need the Secret. A change of it means
/// that all pods are read again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SecretScope {
    /// The images that are pulled with the credential; [`None`] without a registry.
    pub(crate) covered: Option<CoveredImages>,
    /// The namespaces whose pods are reviewed.
    pub(crate) scope: NamespaceScope,
}

/// The controller of pull Secrets.
pub(crate) struct PullSecretController {
    pub(crate) client: Client,
    pub(crate) release: Release,
    pub(crate) events: Events,
    /// The wanted state.
    pub(crate) orders: watch::Receiver<DesiredPullSecret>,
    /// The reported status.
    pub(crate) report: watch::Sender<PullSecretStatus>,
    /// Notifies the reconcile loop of a changed report.
    pub(crate) changed: Arc<Notify>,
    /// The time for which a namespace keeps the Secret after its last swapped pod.
    pub(crate) linger: Duration,
    /// The label by which a pod opts out.
    pub(crate) label: String,
}

/// The observed state of the cluster.
#[derive(Default)]
struct ObservedCluster {
    pods: Pods,
    /// True once all pods were listed.
    pods_complete: bool,
    namespaces: SelectedNamespaces,
    existing: ExistingSecrets,
    /// True once all Secrets were listed.
    secrets_complete: bool,
    /// Namespaces in which a write has to wait.
    waiting: BTreeMap<String, RetriedNamespace>,
    /// Recent writes by namespace: another writer may change a Secret again and again.
    paces: BTreeMap<String, TokenBucket>,
    /// Namespaces with a Secret of another writer for which an Event was published.
    foreign: BTreeSet<String>,
    writes: u64,
}

/// A namespace in which a write has to wait.
struct RetriedNamespace {
    until: Instant,
    wait: Duration,
    cause: Cause,
}

#[derive(PartialEq, Eq)]
enum Cause {
    /// Another writer was quicker.
    Conflict,
    /// The API server refuses, for this reason.
    Refused(String),
    /// The Secret is changed again and again.
    Paced,
}

/// The watches that are restarted when a [`SecretScope`] changes.
struct Watches {
    view: Option<SecretScope>,
    pods: BoxStream<'static, Event<WholeObject>>,
    namespaces: BoxStream<'static, Event<MetadataObject>>,
}

impl Watches {
    fn none() -> Self {
        Self { view: None, pods: stream::pending().boxed(), namespaces: stream::pending().boxed() }
    }
}

impl PullSecretController {
    /// Keeps the Secret until its task is dropped.
    pub(crate) async fn run(mut self) {
        let mut known = ObservedCluster::default();
        let mut watches = Watches::none();
        let secrets = api::all::<Secret, _>(&self.client);
        let mut secrets = pages(secrets, named(NAME), "pull Secrets");
        let mut due = false;
        loop {
            let wake = known.wake(self.linger);
            tokio::select! {
                // Events come before actions.
                biased;
                Some(event) = secrets.next() => due |= known.secret(event),
                Some(event) = watches.namespaces.next() => {
                    let view = watches.view.as_ref();
                    due |= view.is_some_and(|view| known.namespaces.note(event, &view.scope));
                }
                Some(event) = watches.pods.next() => {
                    due |= known.pod(event, watches.view.as_ref(), &self.label, now());
                }
                changed = self.orders.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    known.waiting.clear();
                    known.paces.clear();
                    due = true;
                }
                () = std::future::ready(()), if due => {
                    due = self.act(&mut known, &mut watches).await;
                }
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => due = true,
            }
        }
    }

    /// Starts the watches of `view`, or ends them if nothing depends on pods.
    fn restart(
        &self,
        known: &mut ObservedCluster,
        watches: &mut Watches,
        view: Option<SecretScope>,
    ) {
        known.pods_complete = false;
        known.namespaces.complete = false;
        *watches = Watches::none();
        if let Some(view) = &view {
            watches.pods = pages(api::all::<Pod, _>(&self.client), all(), "pods");
            if view.covered.is_some() {
                let namespaces = api::all::<Namespace, _>(&self.client);
                watches.namespaces = pages(namespaces, all(), "namespaces");
            }
        } else {
            known.pods = Pods::default();
        }
        watches.view = view;
    }

    /// Takes a part of the steps that are due. Returns true if more are due.
    async fn act(&mut self, known: &mut ObservedCluster, watches: &mut Watches) -> bool {
        // The view of the same order decides on the namespaces: an order that arrives later
        // has its own turn.
        let (content, view) = match &*self.orders.borrow_and_update() {
            DesiredPullSecret::Unknown => return false,
            DesiredPullSecret::Present { content, view } => (content.clone(), view.clone()),
        };
        // Without a credential pods decide what is removed.
        let view = match &content {
            Some(_) => Some(view),
            None => known.existing.has_any_of(&self.release.name).then(SecretScope::default),
        };
        // An object that was not yet seen must not count as deleted.
        let needs_pods = view.is_some();
        if watches.view != view {
            self.restart(known, watches, view);
        }
        let is_complete = (known.pods_complete || !needs_pods)
            && (known.namespaces.complete || content.is_none());
        if !known.secrets_complete || !is_complete {
            return false;
        }
        let writer = Writer::new(&self.client, &self.release);
        let object = content.map(|content| writer.object(&content));
        let wanted = object.as_ref().map(Fingerprint::of_wanted);
        let release = &self.release.name;
        let existing = known.existing.state(release, wanted.as_ref());
        let mut swapped = known.pods.swapped(now(), self.linger.as_secs());
        swapped.retain(|namespace| known.namespaces.contains(namespace));
        let plan = plan(object.is_some(), &swapped, &known.pods.living(), &existing);
        self.report_foreign(known, &plan).await;
        let at = Instant::now();
        known.waiting.retain(|namespace, _| plan.contains_key(namespace));
        let time = now();
        known.paces.retain(|_, bucket| !bucket.is_full(time));
        let is_due = |namespace: &String, action: &PullSecretAction| {
            let waiting = known.waiting.get(namespace);
            *action != PullSecretAction::Foreign && waiting.is_none_or(|it| it.until <= at)
        };
        let due = plan.iter().filter(|(namespace, action)| is_due(namespace, action));
        let due: Vec<(&String, PullSecretAction)> =
            due.take(IN_A_ROW + 1).map(|(namespace, action)| (namespace, *action)).collect();
        let is_more = due.len() > IN_A_ROW;
        let mut some = Vec::new();
        for (namespace, action) in due.into_iter().take(IN_A_ROW) {
            let bucket = known.paces.entry(namespace.clone()).or_default();
            if let Err(seconds) = bucket.begin(time) {
                known.pace(namespace, Duration::from_secs(seconds));
                continue;
            }
            let found = known.existing.get(namespace);
            some.push(writer.execute(namespace, action, object.as_ref(), found));
        }
        let outcomes: Vec<_> = stream::iter(some).buffer_unordered(AT_ONCE).collect().await;
        for (namespace, outcome) in outcomes {
            if let Some(reason) = known.note(&namespace, outcome) {
                self.report_failure(known, &namespace, &reason).await;
            }
        }
        let kept = object.is_some();
        let state = known.existing.state(release, wanted.as_ref());
        let failures = known.failures();
        self.publish(PullSecretStatus {
            kept,
            namespaces: state.values().filter(|it| it.managed && it.current && kept).count(),
            foreign: known.foreign.iter().take(NAMED).cloned().collect(),
            foreign_count: known.foreign.len(),
            failed: failures.len(),
            failures: failures.into_iter().take(NAMED).collect(),
            writes: known.writes,
        });
        is_more
    }

    /// Publishes an Event about a Secret that cannot be written, in its namespace.
    async fn report_failure(&self, known: &ObservedCluster, namespace: &str, reason: &str) {
        let about = reference(namespace, known.existing.get(namespace));
        let note = format!(
            "cannot write the pull Secret, so nodes may be unable to pull swapped images in this \
             namespace: {reason}"
        );
        self.events.warn_of(&about, "PullSecretNotWritten", &note).await;
    }

    /// Publishes an Event about each Secret of the same name that image-swap did not create.
    async fn report_foreign(
        &self,
        known: &mut ObservedCluster,
        plan: &BTreeMap<String, PullSecretAction>,
    ) {
        let is_foreign = |namespace: &str| plan.get(namespace) == Some(&PullSecretAction::Foreign);
        known.foreign.retain(|namespace| is_foreign(namespace));
        for namespace in plan.keys().filter(|namespace| is_foreign(namespace)) {
            if !known.foreign.insert(namespace.clone()) {
                continue;
            }
            warn!(
                namespace,
                "another program owns a Secret with the name of the pull Secret; it stays unchanged"
            );
            let Some(found) = known.existing.get(namespace) else { continue };
            let note = "image-swap did not create this Secret, and leaves it unchanged; nodes pull \
                        swapped images with it: rename it, or delete it";
            let about = reference(namespace, Some(found));
            self.events.warn_of(&about, "PullSecretNotOurs", note).await;
        }
    }

    fn publish(&self, report: PullSecretStatus) {
        // A change of the write count alone does not start a reconciliation.
        let is_news = {
            let before = self.report.borrow();
            before.foreign_count != report.foreign_count
                || before.failures != report.failures
                || before.kept != report.kept
        };
        send_new(&self.report, report);
        if is_news {
            self.changed.notify_one();
        }
    }
}

impl ObservedCluster {
    /// Returns the time of the next retry or removal; `None` if none is due without a new event.
    fn wake(&self, linger: Duration) -> Option<Instant> {
        let retries = self.waiting.values().map(|it| it.until).min();
        let forgotten = self.pods.next(linger.as_secs()).map(|at| {
            // One second more, since the clock is read in whole seconds.
            Instant::now() + Duration::from_secs(at.saturating_sub(now()).max(1))
        });
        retries.into_iter().chain(forgotten).min()
    }

    /// Records an event of a Secret. Returns true if an action may be due.
    fn secret(&mut self, event: Event<WholeObject>) -> bool {
        match event {
            Event::Init => self.existing.begin_list(),
            Event::InitApply(secret) => self.existing.list(&secret),
            Event::InitDone => {
                self.existing.end_list();
                self.secrets_complete = true;
                return true;
            }
            Event::Apply(secret) => {
                let namespace = secret.namespace().unwrap_or_default();
                let was_kept = self.existing.is_kept(namespace);
                let is_news = self.existing.add(&secret);
                if self.existing.is_kept(namespace) && !was_kept {
                    // The release is leaving, and the controller has not yet noticed.
                    self.pace(namespace, LEAVING);
                    return false;
                }
                if self.waiting.get(namespace).is_some_and(|it| it.cause == Cause::Conflict) {
                    self.waiting.remove(namespace);
                    return true;
                }
                // A change by another writer does not shorten a wait.
                return is_news && !self.waiting.contains_key(namespace);
            }
            Event::Delete(secret) => {
                self.existing.remove(&secret);
                return !self.waiting.contains_key(secret.namespace().unwrap_or_default());
            }
        }
        false
    }

    /// Records an event of a pod. Returns true if an action may be due.
    fn pod(
        &mut self,
        event: Event<WholeObject>,
        view: Option<&SecretScope>,
        label: &str,
        now: UnixTime,
    ) -> bool {
        let covered = view.and_then(|view| view.covered.as_ref());
        match event {
            Event::Init => self.pods.begin_list(),
            Event::InitApply(pod) => {
                if let Some((namespace, name)) = pod.name()
                    && let Some(used) = secret_use(&pod, covered, label)
                {
                    self.pods.list(namespace, name, used);
                }
            }
            Event::InitDone => {
                self.pods.end_list(now);
                self.pods_complete = true;
                return true;
            }
            Event::Apply(pod) => {
                let Some((namespace, name)) = pod.name() else { return false };
                return match secret_use(&pod, covered, label) {
                    Some(used) => self.pods.add(namespace, name, used, now),
                    None => self.pods.remove(namespace, name, now),
                };
            }
            Event::Delete(pod) => {
                let Some((namespace, name)) = pod.name() else { return false };
                return self.pods.remove(namespace, name, now);
            }
        }
        false
    }

    /// Records that the next write in a namespace has to wait: it was written too often.
    fn pace(&mut self, namespace: &str, wait: Duration) {
        let until = Instant::now() + wait;
        let waiting = RetriedNamespace { until, wait, cause: Cause::Paced };
        let before = self.waiting.insert(namespace.to_owned(), waiting);
        if before.is_none_or(|before| before.cause != Cause::Paced) {
            let seconds = wait.as_secs();
            warn!(
                namespace,
                seconds, "another writer keeps changing the pull Secret; the next write is delayed"
            );
        }
    }

    /// Records the outcome of a write. Returns the reason of a failure if it is new.
    fn note(&mut self, namespace: &str, outcome: WriteOutcome) -> Option<String> {
        match outcome {
            WriteOutcome::Written(secret) => {
                info!(namespace, "wrote the pull Secret");
                self.existing.add(&secret);
            }
            WriteOutcome::Deleted => {
                info!(namespace, "deleted the pull Secret");
                self.existing.forget(namespace);
            }
            WriteOutcome::Failed(reason) => return self.note_failure(namespace, reason),
        }
        self.writes += 1;
        self.waiting.remove(namespace);
        None
    }

    /// Records a failed write, with its reason. Returns the reason if it is new.
    fn note_failure(&mut self, namespace: &str, reason: Option<String>) -> Option<String> {
        let [first, longest] = RETRY;
        let before = self.waiting.get(namespace);
        let wait = before.map_or(first, |it| (it.wait * 2).min(longest));
        let cause = reason.clone().map_or(Cause::Conflict, Cause::Refused);
        let news = reason.filter(|_| before.is_none_or(|before| before.cause != cause));
        if let Some(reason) = &news {
            warn!(namespace, reason, "cannot write the pull Secret; retrying");
        }
        let until = Instant::now() + wait;
        self.waiting.insert(namespace.to_owned(), RetriedNamespace { until, wait, cause });
        news
    }

    /// Returns the namespaces in which the API server refuses the Secret.
    fn failures(&self) -> Vec<PullSecretFailure> {
        let failures = self.waiting.iter().filter_map(|(namespace, waiting)| {
            let Cause::Refused(reason) = &waiting.cause else { return None };
            Some(PullSecretFailure { namespace: namespace.clone(), reason: reason.clone() })
        });
        failures.collect()
    }
}
