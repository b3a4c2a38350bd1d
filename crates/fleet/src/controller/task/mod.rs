//! The task of one workload cluster: a slow or broken cluster delays no other one.

mod connection;
mod session;
mod signs;
mod state;

use std::{collections::BTreeSet, future::pending, sync::Arc};

use image_swap_cluster::{AttemptBackoff, clock::now};
use image_swap_core::{
    control::effective::Effective,
    fleet::{
        assignment::{AssignedDeclaration, Assignment, WaitReason},
        drift::RepairLog,
        inventory::{ClusterSettings, EntryAccess},
    },
    status::workload_cluster::{ApplyOutcome, ClusterContact, ClusterFacts, RemovalProgress},
};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{info, warn};

pub(super) use self::signs::StoredDeclarationId;
use self::{
    connection::ClusterSession,
    signs::HeartbeatSigns,
    state::{TaskState, TokenRead},
};
use super::{
    facts::{EndedAttempt, REPEAT, begun},
    filled::FilledBundle,
    hub::HubBundle,
    order::{ClusterOrder, ClusterTask},
    tokens::StoredTokens,
};
use crate::remote::{ApplyReport, RemoteCluster, RemoteError, Removal};

impl ClusterTask {
    /// Applies each order to the cluster, until the sender of orders is dropped.
    pub(super) async fn run(mut self) {
        let mut backoff = self.settings.timing.backoff();
        let mut state = TaskState {
            session: None,
            token: None,
            token_read: TokenRead::Pending,
            is_removed: false,
            facts: ClusterFacts::default(),
            applied: None,
            version: String::new(),
            token_wait: None,
            is_temporary: false,
            resumed: 0,
            repairs: RepairLog::default(),
            due: None,
            signs: HeartbeatSigns::new(),
            is_forbidden: false,
            sent: None,
        };
        loop {
            let order = self.orders.borrow_and_update().clone();
            if std::mem::replace(&mut state.resumed, order.resumed) != order.resumed {
                state.applied = None;
                self.expect_heartbeat(&mut state);
            }
            if matches!(state.facts.contact, ClusterContact::Unreachable(_)) {
                // Requests to clusters that answer precede it.
                self.ends.wait_for_others().await;
            }
            // Boxed: a task that waits for its next attempt keeps no memory for it.
            let attempt = Box::pin(self.attempt(&order, &mut state));
            let attempt = timeout(self.settings.timing.attempt, attempt);
            let result = attempt.await.unwrap_or(Err(RemoteError::TimedOut));
            self.ends.note();
            self.take(result, &order, &mut state, &mut backoff);
            state.take_heartbeat();
            let mut newer = self.orders.clone();
            let published = async {
                // Requests to other clusters precede the report.
                self.ends.settle().await;
                Box::pin(self.publish(&order, &mut state)).await;
            };
            tokio::select! {
                biased;
                () = published => {}
                // A new order is more urgent than the report about the last one.
                _ = newer.changed() => {}
            }
            let due = state.next();
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
                () = next => state.begin_due(),
                () = beaten => {
                    state.take_heartbeat();
                    state.begin_due();
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
                    | WaitReason::ManagementCluster
                    | WaitReason::Duplicate(_) => {
                        state.session = None;
                        state.applied = None;
                    }
                }
                Ok(())
            }
            Assignment::Identify => self.connect(order, state).await,
            Assignment::Apply(declaration) | Assignment::Keep(declaration, _) => {
                state.is_removed = false;
                self.connect(order, state).await?;
                // Another cluster answers: the fleet controller decides again.
                if !state.is_that_of(order) {
                    return Ok(());
                }
                if !self.renew_token(order, state).await? || !state.is_that_of(order) {
                    return Ok(());
                }
                self.apply(order, declaration, state).await
            }
            Assignment::Remove => {
                self.connect(order, state).await?;
                if !state.is_that_of(order) {
                    return Ok(());
                }
                Box::pin(self.remove(order, state)).await
            }
        }
    }

    /// Returns the store of tokens on the management cluster.
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
        state.repairs.in_force.clear();
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

    /// Returns a client with the credential of the inventory, which outlives the token; with the
    /// token if the API server refuses that credential.
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

    /// Applies bundle and declaration, unless they are in force already. A cluster that keeps its
    /// former bundle receives only the declaration.
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
        let is_kept = order.kept_bundle.is_some();
        let is_in_force = |it: &Arc<FilledBundle>| {
            if is_kept { it.has_only(declaration) } else { it.has(bundle, declaration, settings) }
        };
        if state.applied.as_ref().is_some_and(is_in_force) {
            return Ok(());
        }
        let is_former =
            |it: &Arc<FilledBundle>| if is_kept { it.is_declaration } else { it.is_of(bundle) };
        let before = state.applied.take().filter(is_former);
        let served = before.as_ref().map(|it| &it.served);
        let filled = if is_kept {
            Ok(self.filled.declare(bundle, declaration))
        } else {
            self.fill(session, bundle, declaration, settings, served).await?
        };
        let filled = match filled {
            Ok(filled) => filled,
            Err(outcome) => {
                state.facts.outcome = outcome;
                return Ok(());
            }
        };
        let remote = &session.remote;
        // The other objects are in force. The next comparison includes them.
        let changed = before.as_ref().and_then(|before| filled.changed_since(before));
        let repairs = &mut state.repairs;
        let report = match changed {
            Some(changed) => remote.apply(&changed, repairs, now()).await?,
            None if filled.is_declaration => {
                Box::pin(remote.apply_declaration(&filled.objects, repairs, now())).await?
            }
            None => {
                let removal = self.removal();
                Box::pin(remote.apply_bundle(&filled.objects, &removal, repairs, now())).await?
            }
        };
        self.log(&report);
        state.take_report(&report);
        if report.is_complete() {
            let stored = filled.bundle_hash().unwrap_or(&state.facts.stored_bundle).to_owned();
            let before = (
                state.facts.stored.replace(declaration.revision),
                std::mem::replace(&mut state.facts.stored_bundle, stored),
            );
            if before.0 != state.facts.stored || before.1 != state.facts.stored_bundle {
                self.expect_heartbeat(state);
            }
            filled.stored().hash.clone_into(&mut state.facts.stored_hash);
            state.applied = Some(filled);
        }
        Ok(())
    }

    /// Lets the time for a heartbeat begin again unless heartbeats arrive.
    fn expect_heartbeat(&self, state: &mut TaskState) {
        if let Some(session) = &mut state.session {
            session.expect_heartbeat(&self.settings.workload, self.settings.timing.stale);
        }
    }

    /// Returns the objects of the cluster; the outcome if the bundle cannot be filled. `served` has
    /// the versions that the API server serves; with `None` they are read.
    ///
    /// # Errors
    /// The cluster does not answer, or refuses the discovery.
    async fn fill(
        &self,
        session: &ClusterSession,
        bundle: &Arc<HubBundle>,
        declaration: &AssignedDeclaration,
        settings: &ClusterSettings,
        served: Option<&BTreeSet<String>>,
    ) -> Result<Result<Arc<FilledBundle>, ApplyOutcome>, RemoteError> {
        let served = match served {
            Some(served) => served,
            None => &Box::pin(session.remote.discover()).await?.served,
        };
        let namespace = &self.settings.workload.namespace;
        let filled = self.filled.fill(bundle, declaration, settings, served, namespace);
        Ok(filled.map_err(|error| ApplyOutcome::Failed(format!("bundle: {error}"))))
    }

    fn log(&self, report: &ApplyReport) {
        let cluster = &self.key;
        if report.written > 0 {
            info!(%cluster, objects = report.written, "applied to a workload cluster");
        }
        for object in &report.pruned {
            info!(%cluster, object, "deleted an object of a former bundle");
        }
        for repaired in &report.repaired {
            info!(%cluster, object = repaired.object, "repaired drift in a workload cluster");
        }
        for contested in &report.conflicts {
            warn!(%cluster, object = contested.object, "another writer holds an object");
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
            let is_waiting = matches!(order.assignment, Assignment::Wait(_) | Assignment::Identify);
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
        state.is_forbidden |= error == RemoteError::Refused(403);
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
        state.due = Some(Instant::now() + backoff.pause());
    }

    /// Writes the status of the cluster, and reports to the controller.
    async fn publish(&self, order: &ClusterOrder, state: &mut TaskState) {
        let known = Some(&state.facts.uid).filter(|uid| !uid.is_empty());
        let attempt = EndedAttempt {
            uid: state.session.as_ref().map(|it| &it.uid).or(known).cloned(),
            version: state.version.clone(),
            resumed: state.resumed,
            is_temporary: state.is_temporary,
        };
        if !self.publish_facts(order, &state.facts, attempt, &mut state.sent).await {
            let again = Instant::now() + REPEAT;
            state.due = Some(state.due.map_or(again, |due| due.min(again)));
        }
    }
}
