//! The task of one workload cluster: a slow or broken cluster delays no other one.

use std::{future::pending, sync::Arc, time::Duration};

use image_swap_cluster::{AttemptBackoff, clock::now};
use image_swap_core::{
    control::effective::Effective,
    declaration::UnixTime,
    fleet::{
        assignment::{AssignedDeclaration, Assignment, WaitReason},
        bundle::{Bundle, BundleObject, BundleSlots},
        drift::RepairLog,
        inventory::{ClusterSettings, EntryAccess},
    },
    status::workload_cluster::{ApplyOutcome, ClusterContact, ClusterFacts, RemovalProgress},
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};
use tracing::{info, warn};

use super::{
    facts::{REPEAT, begun, heartbeat_facts},
    order::{ClusterOrder, ClusterReport, ClusterTask},
    tokens::StoredTokens,
};
use crate::{
    heartbeat::{self, HeartbeatState, STALE_AFTER},
    remote::{ApplyReport, ContestedObject, FleetToken, RemoteCluster, RemoteError, Removal},
};

/// Connection to a workload cluster.
struct ClusterSession {
    remote: RemoteCluster,
    /// Version of the access.
    version: String,
    uid: String,
    heartbeat: watch::Receiver<HeartbeatState>,
    watching: JoinHandle<()>,
}

impl Drop for ClusterSession {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

/// State of a task.
struct TaskState {
    session: Option<ClusterSession>,
    /// Token of the fleet controller for the cluster; `None` before the first.
    token: Option<FleetToken>,
    facts: ClusterFacts,
    /// True if image-swap has been removed from the cluster.
    is_removed: bool,
    /// Declaration, bundle and settings that were last applied as a whole.
    applied: Option<AppliedBundle>,
    repairs: RepairLog,
    /// Time of the next comparison or attempt; `None` if only an order or a heartbeat starts one.
    due: Option<Instant>,
    /// Report that was sent last.
    sent: Option<ClusterReport>,
}

/// Content that was applied to a workload cluster.
struct AppliedBundle {
    declaration: AssignedDeclaration,
    bundle: Arc<Bundle>,
    api_server: Option<String>,
    policy: Option<String>,
}

impl AppliedBundle {
    fn is_that_of(&self, order: &ClusterOrder, declaration: &AssignedDeclaration) -> bool {
        let Ok(bundle) = &order.bundle else { return true };
        let settings = &order.entry.settings;
        Arc::ptr_eq(&self.bundle, bundle)
            && self.declaration == *declaration
            && self.api_server == settings.api_server
            && self.policy == settings.policy
    }
}

impl ClusterTask {
    /// Keeps the cluster as ordered, until the sender of orders is dropped.
    pub(super) async fn run(mut self) {
        let mut backoff = self.settings.timing.backoff();
        let mut state = TaskState {
            session: None,
            token: self.tokens().load(&self.key.to_string()).await,
            is_removed: false,
            facts: ClusterFacts::default(),
            applied: None,
            repairs: RepairLog::default(),
            due: None,
            sent: None,
        };
        loop {
            let order = self.orders.borrow_and_update().clone();
            let attempt = timeout(self.settings.timing.attempt, self.attempt(&order, &mut state));
            let result = attempt.await.unwrap_or(Err(RemoteError::TimedOut));
            self.take(result, &order, &mut state, &mut backoff);
            state.take_heartbeat();
            self.publish(&order, &mut state).await;
            let due = state.due;
            let next = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => pending().await,
                }
            };
            let beat = state.session.as_mut().map(|session| &mut session.heartbeat);
            let beaten = async {
                let Some(heartbeat) = beat else { return pending().await };
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
                () = beaten => state.compare_if_needed(),
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
        state.facts = begun(std::mem::take(&mut state.facts), order);
        match &order.assignment {
            Assignment::Wait(reason) => {
                match reason {
                    WaitReason::Wave(_)
                    | WaitReason::NoDeclaration
                    | WaitReason::Orphaned
                    | WaitReason::UnknownRevision(_) => self.connect(order, state).await?,
                    WaitReason::Access(_)
                    | WaitReason::Refused(_)
                    | WaitReason::Paused
                    | WaitReason::Duplicate(_) => {
                        state.session = None;
                        state.applied = None;
                    }
                }
                Ok(())
            }
            Assignment::Identify => self.connect(order, state).await,
            Assignment::Apply(declaration) => {
                state.is_removed = false;
                self.connect(order, state).await?;
                self.renew_token(order, state).await?;
                self.apply(order, declaration, state).await
            }
            Assignment::Remove => {
                self.connect(order, state).await?;
                self.remove(order, state).await
            }
        }
    }

    /// Connects to the cluster if there is no connection by the present access.
    ///
    /// # Errors
    /// The cluster does not answer, or refuses both credentials.
    async fn connect(
        &self,
        order: &ClusterOrder,
        state: &mut TaskState,
    ) -> Result<(), RemoteError> {
        let EntryAccess::Usable { access, version } = &order.entry.access else { return Ok(()) };
        if state.session.as_ref().is_some_and(|it| it.version == *version) {
            return Ok(());
        }
        state.session = None;
        state.applied = None;
        let limits = &self.settings.timing.limits;
        let mut known = None;
        if let Some(token) = &state.token {
            let remote = RemoteCluster::connect(&token.access(access), limits)?;
            match remote.identity().await {
                Ok(uid) => known = Some((remote, uid)),
                Err(error) if error.needs_new_client() => state.token = None,
                Err(error) => return Err(error),
            }
        }
        let (remote, uid) = if let Some(known) = known {
            known
        } else {
            let remote = RemoteCluster::connect(access, limits)?;
            let uid = remote.identity().await?;
            (remote, uid)
        };
        if state.facts.uid != uid {
            state.facts.stored = None;
        }
        state.facts.uid.clone_from(&uid);
        state.facts.contact = ClusterContact::Reached;
        let release = &self.settings.workload;
        let (heartbeat, watching) = heartbeat::follow(
            remote.client().clone(),
            &release.namespace,
            &release.heartbeat(),
            STALE_AFTER,
        );
        let version = version.clone();
        state.session = Some(ClusterSession { remote, version, uid, heartbeat, watching });
        Ok(())
    }

    /// Replaces the credential of the inventory by a token of an account of the fleet controller
    /// in the cluster, and renews it at half of its life.
    ///
    /// # Errors
    /// The cluster does not answer, or refuses both credentials.
    async fn renew_token(
        &self,
        order: &ClusterOrder,
        state: &mut TaskState,
    ) -> Result<(), RemoteError> {
        let EntryAccess::Usable { access, .. } = &order.entry.access else { return Ok(()) };
        let (namespace, limits) = (&self.settings.workload.namespace, &self.settings.timing.limits);
        let now = now();
        let token = match &state.token {
            Some(token) if !token.is_due(now) => return Ok(()),
            Some(token) => token.renew(access, limits, namespace, now).await?,
            None => RemoteCluster::connect(access, limits)?.create_token(namespace, now).await?,
        };
        if let Err(error) =
            self.tokens().store(&self.key.to_string(), &state.facts.uid, &token).await
        {
            warn!(cluster = %self.key, %error, "cannot store the token of a workload cluster");
        }
        state.token = Some(token);
        // The next connection uses the token.
        state.session = None;
        self.connect(order, state).await
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
        let objects = self.fill(session, bundle, &nothing, &ClusterSettings::default()).await?;
        let objects = match objects {
            Ok(objects) => objects,
            Err(outcome) => {
                state.facts.outcome = outcome;
                return Ok(());
            }
        };
        let removal = Removal {
            namespace: self.settings.workload.namespace.clone(),
            wait: self.settings.timing.restore,
            proceed: false,
        };
        let report = session.remote.remove(&objects, &removal).await?;
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
        if state.applied.as_ref().is_some_and(|it| it.is_that_of(order, declaration)) {
            return Ok(());
        }
        state.applied = None;
        let settings = &order.entry.settings;
        let objects = match self.fill(session, bundle, declaration, settings).await? {
            Ok(objects) => objects,
            Err(outcome) => {
                state.facts.outcome = outcome;
                return Ok(());
            }
        };
        let report = session.remote.apply(&objects, &mut state.repairs, now()).await?;
        self.log(&report);
        state.take_report(&report);
        if report.is_complete() {
            state.facts.stored = Some(declaration.revision);
            state.applied = Some(AppliedBundle {
                declaration: declaration.clone(),
                bundle: Arc::clone(bundle),
                api_server: settings.api_server.clone(),
                policy: settings.policy.clone(),
            });
        }
        Ok(())
    }

    /// Returns the objects of the cluster; the outcome if the bundle cannot be filled.
    ///
    /// # Errors
    /// The cluster does not answer, or refuses the discovery.
    async fn fill(
        &self,
        session: &ClusterSession,
        bundle: &Bundle,
        declaration: &AssignedDeclaration,
        settings: &ClusterSettings,
    ) -> Result<Result<Vec<BundleObject>, ApplyOutcome>, RemoteError> {
        let facts = session.remote.discover().await?;
        let filled = bundle.fill(&BundleSlots {
            namespace: &self.settings.workload.namespace,
            declaration: &declaration.effective,
            revision: declaration.revision,
            api_server: settings.api_server.as_deref(),
            policy: settings.policy.as_deref(),
            served: &facts.served,
            hub_secret: None,
        });
        Ok(filled.map_err(|error| ApplyOutcome::Failed(format!("bundle: {error}"))))
    }

    fn log(&self, report: &ApplyReport) {
        let cluster = self.key.to_string();
        if report.written > 0 {
            info!(cluster, objects = report.written, "applied to a workload cluster");
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
                    backoff.pause()
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
            RemoteError::Refused(_) => {
                state.facts.contact = ClusterContact::Reached;
                state.facts.outcome = ApplyOutcome::Failed(reason);
            }
            _ => state.facts.contact = ClusterContact::Unreachable(reason),
        }
        state.applied = None;
        // A credential may have been renewed without a new Secret, and a connection may be stuck.
        state.session = None;
        state.due = Some(Instant::now() + backoff.pause());
    }

    /// Writes the status of the cluster, and reports to the controller.
    async fn publish(&self, order: &ClusterOrder, state: &mut TaskState) {
        let uid = state.session.as_ref().map(|it| it.uid.clone()).or_else(|| {
            let uid = &state.facts.uid;
            (!uid.is_empty()).then(|| uid.clone())
        });
        if !self.publish_facts(order, &state.facts, uid, &mut state.sent).await {
            let again = Instant::now() + REPEAT;
            state.due = Some(state.due.map_or(again, |due| due.min(again)));
        }
    }
}

impl TaskState {
    /// Takes the last heartbeat.
    fn take_heartbeat(&mut self) {
        let Some(session) = &mut self.session else { return };
        let heartbeat = session.heartbeat.borrow_and_update().clone();
        self.facts.heartbeat = heartbeat_facts(heartbeat);
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
        self.facts.outcome = match report.failures.first() {
            Some(failure) => ApplyOutcome::Failed(failure.to_string()),
            None => ApplyOutcome::Complete,
        };
        let waits = report.limited.iter().filter_map(|it| it.wait).min();
        let wait = |seconds: UnixTime| Instant::now() + Duration::from_secs(seconds);
        self.due = waits.map(wait);
    }
}

/// Returns an object that another writer holds, with its first field.
fn contested(object: &ContestedObject) -> String {
    match object.fields.first() {
        Some(field) => format!("{}: {} by {}", object.object, field.field, field.manager),
        None => format!("{} belongs to another Helm release", object.object),
    }
}
