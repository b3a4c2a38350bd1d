//! The task of one workload cluster: a slow or broken cluster delays no other one.

mod session;

use std::{
    collections::BTreeSet,
    future::pending,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use image_swap_cluster::clock::{now, written};
use image_swap_core::{
    control::effective::Effective,
    declaration::UnixTime,
    fleet::{
        assignment::{AssignedDeclaration, Assignment, WaitReason},
        bundle::{Bundle, BundlePhase},
        drift::RepairLog,
        inventory::{ClusterKey, ClusterSettings, EntryAccess, InventoryEntry},
        wave::ClusterProgress,
    },
    status::{
        cluster_summary::SummaryProblem,
        workload_cluster::{
            AccessState, ApplyOutcome, ClusterContact, ClusterFacts, HeartbeatFacts,
            RemovalProgress, WantedDeclaration, status_of,
        },
    },
};
use kube::Client;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout},
};
use tracing::{info, warn};

use self::session::ClusterSession;
use super::{
    backoff::AttemptBackoff,
    filled::{FilledBundle, FilledBundles},
    settings::FleetSettings,
    tokens::StoredTokens,
};
use crate::{
    objects::WorkloadClusters,
    remote::{ApplyReport, ContestedObject, FleetToken, RemoteCluster, RemoteError, Removal},
};

/// Pause between two heartbeats that start an attempt.
const BEAT_PAUSE: Duration = Duration::from_secs(1);
/// Reason to refuse an entry.
const MANAGEMENT: &str = "the kubeconfig is that of the management cluster, where the release \
                          itself brings its declaration into force; remove the entry";

/// Order for the task of a workload cluster.
#[derive(Clone, Debug)]
pub(super) struct ClusterOrder {
    /// Entry of the inventory.
    pub(super) entry: Arc<InventoryEntry>,
    /// Assignment of the cluster with [`Self::identity`], and of no other one.
    pub(super) assignment: Assignment,
    /// UID of the namespace `kube-system`; `None` before the first contact with the present access.
    pub(super) identity: Option<String>,
    /// Bundle; the reason if there is none.
    pub(super) bundle: Result<Arc<Bundle>, String>,
    /// Number of the newest declaration of the management cluster; `None` without one.
    pub(super) newest: Option<u64>,
    /// Other entries of the same cluster, which do not count.
    pub(super) duplicates: Vec<ClusterKey>,
    /// Number of times that an administrator resumed the rollout. Each begins an attempt.
    pub(super) resumed: u64,
}

impl PartialEq for ClusterOrder {
    fn eq(&self, other: &Self) -> bool {
        let same_bundle = match (&self.bundle, &other.bundle) {
            (Ok(one), Ok(other)) => Arc::ptr_eq(one, other),
            (Err(one), Err(other)) => one == other,
            _ => false,
        };
        same_bundle
            && self.entry == other.entry
            && self.assignment == other.assignment
            && self.identity == other.identity
            && self.duplicates == other.duplicates
            && self.resumed == other.resumed
            && self.newest == other.newest
    }
}

/// Report of the task of a workload cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClusterReport {
    /// UID of the namespace `kube-system`; `None` before the first contact.
    pub(super) uid: Option<String>,
    /// Version of the access by which [`Self::uid`] was read; empty before the first contact.
    pub(super) version: String,
    /// Number of resumed rollouts, as in the order.
    pub(super) resumed: u64,
    /// Progress with the declaration of [`Self::revision`].
    pub(super) progress: ClusterProgress,
    /// Number of the declaration that the progress is about; `None` without one.
    pub(super) revision: Option<u64>,
    /// State of the cluster, for counts.
    pub(super) state: String,
}

/// Task of one workload cluster.
pub(super) struct ClusterTask {
    pub(super) key: ClusterKey,
    pub(super) settings: Arc<FleetSettings>,
    /// Client of the management cluster.
    pub(super) client: Client,
    pub(super) orders: watch::Receiver<ClusterOrder>,
    pub(super) reports: mpsc::UnboundedSender<(ClusterKey, ClusterReport)>,
    pub(super) objects: Arc<WorkloadClusters>,
    /// Filled bundles of all clusters.
    pub(super) filled: Arc<FilledBundles>,
}

/// State of a task.
struct TaskState {
    session: Option<ClusterSession>,
    /// Token of the fleet controller for the cluster; `None` before the first.
    token: Option<FleetToken>,
    facts: ClusterFacts,
    /// True if image-swap has been removed from the cluster.
    is_removed: bool,
    /// Objects that are in force since the last comparison or apply; `None` if the next apply
    /// compares all of them.
    applied: Option<Arc<FilledBundle>>,
    /// Version of the access by which the identity was read; empty before the first contact.
    version: String,
    /// Time before which no token is requested.
    token_wait: Option<Instant>,
    /// Time before which a heartbeat starts nothing, so that a cluster that sends many of them
    /// causes few writes on the management cluster.
    beat_wait: Instant,
    /// True if every failure of the last attempt may end by itself.
    is_temporary: bool,
    /// Number of resumed rollouts, as in the last order.
    resumed: u64,
    repairs: RepairLog,
    /// Time of the next comparison or attempt; `None` if only an order or a heartbeat starts one.
    due: Option<Instant>,
    /// Report that was sent last.
    sent: Option<ClusterReport>,
}

impl ClusterTask {
    /// Keeps the cluster as ordered, until the sender of orders is dropped.
    pub(super) async fn run(mut self) {
        let mut backoff = AttemptBackoff::new(&self.settings.timing);
        let mut state = TaskState {
            session: None,
            token: self.tokens().load(&self.key.to_string()).await,
            is_removed: false,
            facts: ClusterFacts::default(),
            applied: None,
            version: String::new(),
            token_wait: None,
            beat_wait: Instant::now(),
            is_temporary: false,
            resumed: 0,
            repairs: RepairLog::default(),
            due: None,
            sent: None,
        };
        loop {
            let order = self.orders.borrow_and_update().clone();
            if std::mem::replace(&mut state.resumed, order.resumed) != order.resumed {
                state.applied = None;
            }
            let attempt = timeout(self.settings.timing.attempt, self.attempt(&order, &mut state));
            let result = attempt.await.unwrap_or(Err(RemoteError::TimedOut));
            self.take(result, &order, &mut state, &mut backoff);
            state.take_heartbeat();
            let mut newer = self.orders.clone();
            tokio::select! {
                biased;
                () = self.publish(&order, &mut state) => {}
                // A new order is more urgent than the report about the last one.
                _ = newer.changed() => {}
            }
            let (due, beat_wait) = (state.due, state.beat_wait);
            let next = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => pending().await,
                }
            };
            let beat = state.session.as_mut().map(|session| &mut session.heartbeat);
            let beaten = async {
                let Some(heartbeat) = beat else { return pending().await };
                sleep_until(beat_wait).await;
                if heartbeat.changed().await.is_err() {
                    pending::<()>().await;
                }
            };
            tokio::select! {
                changed = self.orders.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    backoff.reset();
                    state.due = None;
                }
                () = next => {
                    // A full comparison.
                    state.due = None;
                    state.applied = None;
                }
                () = beaten => {
                    state.beat_wait = Instant::now() + BEAT_PAUSE;
                    state.compare_if_needed();
                }
            }
        }
    }

    /// Applies the order to the cluster, as far as one attempt can.
    ///
    /// # Errors
    /// The cluster does not answer as an API server does.
    async fn attempt(
        &self,
        order: &ClusterOrder,
        state: &mut TaskState,
    ) -> Result<(), RemoteError> {
        state.is_temporary = false;
        state.facts = ClusterFacts {
            access: AccessState::Usable,
            is_paused: false,
            duplicate_of: None,
            duplicates: order.duplicates.iter().map(ToString::to_string).collect(),
            wave: None,
            removal: RemovalProgress::None,
            wanted: wanted(order),
            ..std::mem::take(&mut state.facts)
        };
        match &order.assignment {
            Assignment::Wait(reason) => {
                match reason {
                    WaitReason::Access(reason) => {
                        state.facts.access = AccessState::Waiting(reason.clone());
                    }
                    WaitReason::Refused(reason) => {
                        state.facts.access = AccessState::Refused(reason.clone());
                    }
                    WaitReason::Paused => state.facts.is_paused = true,
                    WaitReason::Duplicate(other) => {
                        state.facts.duplicate_of = Some(other.to_string());
                    }
                    WaitReason::ManagementCluster => {
                        state.facts.access = AccessState::Refused(MANAGEMENT.to_owned());
                    }
                    WaitReason::Wave(reason) => {
                        state.facts.wave = Some(reason.clone());
                        return self.connect(order, state).await;
                    }
                    WaitReason::NoDeclaration | WaitReason::Orphaned => {
                        return self.connect(order, state).await;
                    }
                    WaitReason::UnknownRevision(number) => {
                        state.facts.outcome = ApplyOutcome::Failed(format!(
                            "the declaration {number} is not kept; remove the annotation of the \
                             cluster, or name a later number"
                        ));
                        return self.connect(order, state).await;
                    }
                }
                state.session = None;
                state.applied = None;
                Ok(())
            }
            Assignment::Identify => self.connect(order, state).await,
            Assignment::Apply(declaration) => {
                state.is_removed = false;
                self.connect(order, state).await?;
                // Another cluster answers: the fleet controller decides again.
                if !state.is_that_of(order) {
                    return Ok(());
                }
                self.renew_token(order, state).await?;
                if !state.is_that_of(order) {
                    return Ok(());
                }
                self.apply(order, declaration, state).await
            }
            Assignment::Remove => {
                self.connect(order, state).await?;
                if !state.is_that_of(order) {
                    return Ok(());
                }
                self.remove(order, state).await
            }
        }
    }

    /// Returns the tokens on the management cluster.
    fn tokens(&self) -> StoredTokens {
        StoredTokens::new(&self.client, &self.settings)
    }

    /// Removes image-swap from the cluster.
    ///
    /// # Errors
    /// The cluster does not answer, or refuses a request.
    async fn remove(&self, order: &ClusterOrder, state: &mut TaskState) -> Result<(), RemoteError> {
        state.facts.removal = RemovalProgress::Removing;
        if state.is_removed {
            state.facts.removal = RemovalProgress::Removed;
            return Ok(());
        }
        let (Some(session), Ok(bundle)) = (&state.session, &order.bundle) else { return Ok(()) };
        let nothing = AssignedDeclaration { revision: 0, effective: Arc::new(Effective::none()) };
        state.applied = None;
        let settings = ClusterSettings::default();
        let filled = match self.fill(session, bundle, &nothing, &settings, None).await? {
            Ok(filled) => filled,
            Err(outcome) => {
                state.facts.outcome = outcome;
                return Ok(());
            }
        };
        let remote = self.administrator(order, session).await;
        let report = remote.remove(&filled.objects, &self.removal()).await?;
        state.facts.outcome = match report.failures.first() {
            Some(failure) => ApplyOutcome::Failed(failure.to_string()),
            None if report.pending > 0 => {
                ApplyOutcome::Failed(format!("{} nodes are not restored", report.pending))
            }
            None => ApplyOutcome::Complete,
        };
        if report.is_complete {
            info!(cluster = %self.key, "removed from a workload cluster");
            state.facts.removal = RemovalProgress::Removed;
            state.facts.stored = None;
            state.is_removed = true;
            state.token = None;
            if let Err(error) = self.tokens().delete(&self.key.to_string()).await {
                warn!(cluster = %self.key, %error, "cannot delete a token");
            }
        }
        Ok(())
    }

    /// Returns the cluster by the credential of the inventory, which outlives the token; by the token
    /// if the API server refuses that credential.
    async fn administrator(&self, order: &ClusterOrder, session: &ClusterSession) -> RemoteCluster {
        if let EntryAccess::Usable { access, .. } = &order.entry.access
            && let Ok(remote) = RemoteCluster::connect(access, &self.settings.timing.limits)
            && remote.identity().await.is_ok_and(|uid| uid == session.uid)
        {
            return remote;
        }
        session.remote.clone()
    }

    /// Returns the settings of a removal.
    fn removal(&self) -> Removal {
        Removal {
            namespace: self.settings.workload.namespace.clone(),
            wait: self.settings.timing.restore,
            proceed: false,
        }
    }

    /// Applies bundle and declaration, unless they are in force already.
    async fn apply(
        &self,
        order: &ClusterOrder,
        declaration: &AssignedDeclaration,
        state: &mut TaskState,
    ) -> Result<(), RemoteError> {
        let Some(session) = &state.session else { return Ok(()) };
        let bundle = match &order.bundle {
            Ok(bundle) => bundle,
            Err(reason) => {
                state.facts.outcome = ApplyOutcome::Failed(reason.clone());
                return Ok(());
            }
        };
        let settings = &order.entry.settings;
        if state.applied.as_ref().is_some_and(|it| it.has(bundle, declaration, settings)) {
            return Ok(());
        }
        let before = state.applied.take().filter(|it| it.is_of(bundle));
        let served = before.as_ref().map(|it| &it.served);
        let filled = match self.fill(session, bundle, declaration, settings, served).await? {
            Ok(filled) => filled,
            Err(outcome) => {
                state.facts.outcome = outcome;
                return Ok(());
            }
        };
        let remote = &session.remote;
        // The other objects are in force. The next comparison includes them.
        let changed = before.as_ref().and_then(|before| filled.changed_since(before));
        let report = match changed {
            Some(changed) => remote.apply(&changed, &mut state.repairs, now()).await?,
            None => {
                let removal = self.removal();
                let repairs = &mut state.repairs;
                remote.apply_bundle(&filled.objects, &removal, repairs, now()).await?
            }
        };
        self.log(&report);
        state.take_report(&report);
        if report.is_complete() {
            state.facts.stored = Some(declaration.revision);
            state.applied = Some(filled);
        }
        Ok(())
    }

    /// Returns the objects of the cluster; the outcome if the bundle cannot be filled. `served` has
    /// the versions that the API server serves; with `None` they are read.
    ///
    /// # Errors
    /// The cluster does not answer, or refuses the discovery.
    async fn fill(
        &self,
        session: &ClusterSession,
        bundle: &Arc<Bundle>,
        declaration: &AssignedDeclaration,
        settings: &ClusterSettings,
        served: Option<&BTreeSet<String>>,
    ) -> Result<Result<Arc<FilledBundle>, ApplyOutcome>, RemoteError> {
        let served = match served {
            Some(served) => served,
            None => &session.remote.discover().await?.served,
        };
        let namespace = &self.settings.workload.namespace;
        let filled = self.filled.fill(bundle, declaration, settings, served, namespace);
        Ok(filled.map_err(|error| ApplyOutcome::Failed(format!("bundle: {error}"))))
    }

    fn log(&self, report: &ApplyReport) {
        let cluster = self.key.to_string();
        if report.written > 0 {
            info!(cluster, objects = report.written, "applied to a workload cluster");
        }
        for object in &report.pruned {
            info!(cluster, object, "deleted an object of a former bundle");
        }
        for repaired in &report.repaired {
            info!(cluster, object = repaired.object, "repaired drift in a workload cluster");
        }
        for contested in &report.conflicts {
            warn!(cluster, object = contested.object, "another writer holds an object");
        }
    }

    /// Takes the result of an attempt, and plans the next one.
    fn take(
        &self,
        result: Result<(), RemoteError>,
        order: &ClusterOrder,
        state: &mut TaskState,
        backoff: &mut AttemptBackoff,
    ) {
        let Err(error) = result else {
            if state.session.is_some() {
                state.facts.contact = ClusterContact::Reached;
            }
            let is_failed = matches!(state.facts.outcome, ApplyOutcome::Failed(_));
            let is_waiting = !matches!(order.assignment, Assignment::Apply(_) | Assignment::Remove);
            if is_waiting || !is_failed {
                backoff.reset();
            }
            if state.session.is_some() && !is_waiting {
                let pause = if is_failed {
                    backoff.next()
                } else {
                    backoff.jittered(self.settings.timing.compare)
                };
                let at = Instant::now() + pause;
                state.due = Some(state.due.map_or(at, |due| due.min(at)));
            }
            return;
        };
        let reason = error.to_string();
        match error {
            RemoteError::Refused(_) if !error.is_temporary() => {
                state.is_temporary = false;
                state.facts.contact = ClusterContact::Reached;
                state.facts.outcome = ApplyOutcome::Failed(reason);
                state.facts.waiting = "";
            }
            _ => state.facts.contact = ClusterContact::Unreachable(reason),
        }
        state.applied = None;
        // A credential may have been renewed without a new Secret, and a connection may be stuck.
        state.session = None;
        state.due = Some(Instant::now() + backoff.next());
    }

    /// Writes the status of the cluster, and reports to the controller.
    async fn publish(&self, order: &ClusterOrder, state: &mut TaskState) {
        let before = self.objects.status(&self.key);
        let mut status = status_of(&state.facts, before.as_ref(), &written(now()));
        let is_judged =
            state.facts.uid.is_empty() || order.identity.as_ref() == Some(&state.facts.uid);
        // A restarted fleet controller must not take the entry for one that was in force.
        if is_of_other_entry(&order.assignment) {
            status.cluster_uid = String::new();
        } else if !is_judged {
            status.cluster_uid = before.map(|it| it.cluster_uid).unwrap_or_default();
        }
        if let Err(error) = self.objects.publish(&self.key, &order.entry.origin, &status).await {
            warn!(cluster = %self.key, %error, "cannot write the status of a workload cluster");
            let again = Instant::now() + Duration::from_secs(5);
            state.due = Some(state.due.map_or(again, |due| due.min(again)));
        }
        let (revision, progress) = state.progress(order);
        let report = ClusterReport {
            uid: state.session.as_ref().map(|it| it.uid.clone()).or_else(|| {
                let uid = &state.facts.uid;
                (!uid.is_empty()).then(|| uid.clone())
            }),
            version: state.version.clone(),
            resumed: state.resumed,
            progress,
            revision,
            state: status.state().to_owned(),
        };
        if state.sent.as_ref() != Some(&report) {
            state.sent = Some(report.clone());
            // The controller has ended.
            let _ = self.reports.send((self.key.clone(), report));
        }
    }
}

impl TaskState {
    /// Returns true if the connection is to the cluster that `order` is about.
    fn is_that_of(&self, order: &ClusterOrder) -> bool {
        self.session.as_ref().is_some_and(|it| order.identity.as_ref() == Some(&it.uid))
    }

    /// Takes the last heartbeat.
    fn take_heartbeat(&mut self) {
        let Some(session) = &mut self.session else { return };
        let heartbeat = session.heartbeat.borrow_and_update().clone();
        self.facts.heartbeat = HeartbeatFacts {
            received: heartbeat.received.and_then(seconds).map(written),
            is_stale: heartbeat.is_stale,
            summary: heartbeat.summary,
        };
    }

    /// Plans a full comparison if the heartbeat shows that something changed the cluster: it is
    /// stale, or reports another declaration than the applied one.
    fn compare_if_needed(&mut self) {
        let was_stale = self.facts.heartbeat.is_stale;
        self.take_heartbeat();
        let became_stale = self.facts.heartbeat.is_stale && !was_stale;
        let reported =
            self.facts.heartbeat.summary.as_ref().and_then(|it| it.registry_info_revision);
        let applied = self.applied.as_ref().map(|it| it.declaration.revision);
        let differs = reported.is_some() && applied.is_some() && reported != applied;
        if became_stale || differs {
            self.applied = None;
        }
    }

    fn take_report(&mut self, report: &ApplyReport) {
        let names = |all: &[ContestedObject]| all.iter().map(contested).collect();
        self.facts.conflicts = names(&report.conflicts);
        self.facts.drift = names(&report.limited);
        self.facts.waiting = BundlePhase::waiting(report.reached);
        self.is_temporary = report.failures.iter().all(|it| it.error.is_temporary());
        self.facts.outcome = match report.failures.first() {
            Some(failure) => ApplyOutcome::Failed(failure.to_string()),
            None if report.restoring > 0 => ApplyOutcome::Failed(format!(
                "{} nodes are not restored, and keep the agents of the former bundle",
                report.restoring
            )),
            None => ApplyOutcome::Complete,
        };
        let waits = report.limited.iter().filter_map(|it| it.wait).min();
        let wait = |seconds: UnixTime| Instant::now() + Duration::from_secs(seconds);
        self.due = waits.map(wait);
    }

    /// Returns the progress of the cluster, with the number of the declaration that it is about.
    fn progress(&self, order: &ClusterOrder) -> (Option<u64>, ClusterProgress) {
        let facts = &self.facts;
        if matches!(facts.contact, ClusterContact::Unreachable(_)) {
            return (order.newest, ClusterProgress::Unreachable);
        }
        let Assignment::Apply(declaration) = &order.assignment else {
            return (order.newest, ClusterProgress::Pending);
        };
        let revision = declaration.revision;
        (Some(revision), self.progress_with(revision))
    }

    /// Returns the progress with the declaration `revision`.
    fn progress_with(&self, revision: u64) -> ClusterProgress {
        let facts = &self.facts;
        if let ApplyOutcome::Failed(reason) = &facts.outcome {
            if self.is_temporary {
                return ClusterProgress::Pending;
            }
            return ClusterProgress::Failed(reason.clone());
        }
        if let Some(conflict) = facts.conflicts.first() {
            return ClusterProgress::Failed(format!("conflict: {conflict}"));
        }
        if facts.stored != Some(revision) {
            return ClusterProgress::Pending;
        }
        let summary = facts.heartbeat.summary.as_ref();
        let summary = summary.filter(|it| it.registry_info_revision == Some(revision));
        if facts.heartbeat.is_stale {
            return ClusterProgress::Unreachable;
        }
        let Some(summary) = summary else { return ClusterProgress::Pending };
        let stops = |it: &&SummaryProblem| {
            matches!(it, SummaryProblem::NodeTrialFailed | SummaryProblem::DeclarationRefused)
        };
        if let Some(problem) = summary.problems.iter().find(stops) {
            return ClusterProgress::Failed(problem.message().to_owned());
        }
        match summary.nodes {
            Some(nodes) if nodes.total > 0 && nodes.verified == 0 => ClusterProgress::Applied,
            _ => ClusterProgress::Verified,
        }
    }
}

/// Returns true if the cluster is that of another entry, or the management cluster.
const fn is_of_other_entry(assignment: &Assignment) -> bool {
    matches!(assignment, Assignment::Wait(WaitReason::Duplicate(_) | WaitReason::ManagementCluster))
}

/// Returns an object that another writer holds, with its first field.
fn contested(object: &ContestedObject) -> String {
    match object.fields.first() {
        Some(field) => format!("{}: {} by {}", object.object, field.field, field.manager),
        None => format!("{} belongs to another Helm release", object.object),
    }
}

/// Returns a time of this machine's clock in seconds; `None` before 1970.
fn seconds(time: SystemTime) -> Option<UnixTime> {
    time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// Returns the declaration that the cluster is to have in the end.
fn wanted(order: &ClusterOrder) -> WantedDeclaration {
    match (&order.assignment, order.newest) {
        (Assignment::Apply(declaration), _) => WantedDeclaration::Revision(declaration.revision),
        (Assignment::Wait(WaitReason::Orphaned), _) => WantedDeclaration::Orphaned,
        (_, Some(newest)) => WantedDeclaration::Revision(newest),
        (_, None) => WantedDeclaration::None,
    }
}
