//! The task of a cluster that pulls: it writes the cluster's copy of the declaration, and reads the
//! cluster's heartbeat. Both are objects of the management cluster. It never connects to the
//! cluster.

use std::{future::pending, time::Duration};

use image_swap_cluster::{AttemptBackoff, Error};
use image_swap_core::{
    fleet::{
        assignment::{AssignedDeclaration, Assignment},
        bundle::FLEET_MANAGER,
        pull::{DeclarationCopy, PullNames},
    },
    status::workload_cluster::{ApplyOutcome, ClusterContact, ClusterFacts, is_uid},
};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tracing::{info, warn};

use super::{
    facts::{EndedAttempt, REPEAT, begun, heartbeat_facts},
    order::{ClusterOrder, ClusterReport, ClusterTask},
};
use crate::heartbeat::{self, HeartbeatState};

/// Longest time for a write.
const PATIENCE: Duration = Duration::from_secs(20);

/// Reason why the annotation [`REMOVED`](image_swap_core::labels::REMOVED) has no effect.
const NOT_REMOVED: &str = "the fleet controller cannot remove image-swap from a cluster that pulls; \
                           remove it there, then run image-swap fleet revoke";

/// State of the task of a cluster that pulls.
#[derive(Default)]
struct PullState {
    facts: ClusterFacts,
    /// Result of the last write. An order that writes nothing has an outcome of its own.
    outcome: ApplyOutcome,
    /// Declaration that was written last; `None` before the first write, and for a comparison.
    written: Option<AssignedDeclaration>,
    /// Time of the next comparison or attempt; `None` if only an order or a heartbeat starts one.
    due: Option<Instant>,
    /// Report that was sent last.
    sent: Option<ClusterReport>,
}

impl ClusterTask {
    /// Writes the copy of the declaration by each order, until the sender of orders is dropped.
    pub(super) async fn run_pull(mut self) {
        let names = PullNames::of_secret(&self.key.namespace, &self.key.name);
        let mut heartbeat = names.as_ref().map(|names| {
            let stale_after = self.settings.timing.pull_stale;
            let (namespace, lease) = (&names.namespace, names.lease());
            heartbeat::follow(self.client.clone(), namespace, &lease, stale_after).0
        });
        let mut backoff = self.settings.timing.backoff();
        let mut state = PullState::default();
        loop {
            let order = self.orders.borrow_and_update().clone();
            state.begin(&order);
            self.follow_order(&order, names.as_ref(), &mut state, &mut backoff).await;
            if let Some(heartbeat) = &mut heartbeat {
                state.take_heartbeat(heartbeat.borrow_and_update().clone());
            }
            let attempt = EndedAttempt {
                uid: Some(state.facts.uid.clone()).filter(|uid| !uid.is_empty()),
                resumed: order.resumed,
                ..EndedAttempt::default()
            };
            if !self.publish_facts(&order, &state.facts, attempt, &mut state.sent).await {
                let again = Instant::now() + REPEAT;
                state.due = Some(state.due.map_or(again, |due| due.min(again)));
            }
            let due = state.due;
            let next = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                changed = self.orders.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    backoff.reset();
                }
                () = next => {
                    state.due = None;
                    state.written = None;
                }
                () = beaten(&mut heartbeat) => {}
            }
        }
    }

    /// Writes the declaration of the order, unless it is written already.
    async fn follow_order(
        &self,
        order: &ClusterOrder,
        names: Option<&PullNames>,
        state: &mut PullState,
        backoff: &mut AttemptBackoff,
    ) {
        let Some(declaration) = order.assignment.declaration() else { return };
        let Some(names) = names.filter(|_| state.written.as_ref() != Some(declaration)) else {
            return;
        };
        let written = timeout(PATIENCE, self.write_copy(names, declaration)).await;
        let pause = match written.unwrap_or(Err(Error::Late(PATIENCE.as_secs()))) {
            Ok(()) => {
                backoff.reset();
                state.outcome = ApplyOutcome::Complete;
                if state.written.is_none() {
                    info!(cluster = %self.key, declaration.revision, "wrote the declaration");
                }
                state.written = Some(declaration.clone());
                backoff.jittered(self.settings.timing.compare)
            }
            Err(error) => {
                warn!(cluster = %self.key, %error, "cannot write the declaration of a cluster");
                state.outcome = ApplyOutcome::Failed(error.to_string());
                state.written = None;
                backoff.pause()
            }
        };
        state.facts.outcome = state.outcome.clone();
        state.due = Some(Instant::now() + pause);
    }

    /// Writes the copy of `declaration`. The Secret exists: only an enrolment creates it.
    async fn write_copy(
        &self,
        names: &PullNames,
        declaration: &AssignedDeclaration,
    ) -> Result<(), Error> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &names.namespace);
        let patch = DeclarationCopy::patch(names, declaration);
        let params = PatchParams::apply(FLEET_MANAGER).force();
        let written = secrets.patch_metadata(&names.secret(), &params, &Patch::Apply(&patch)).await;
        written.map(drop).map_err(Error::api(format!("write the Secret {}", names.secret())))
    }
}

impl PullState {
    /// Updates the facts by `order`. The outcome of an earlier order ends with that order.
    fn begin(&mut self, order: &ClusterOrder) {
        self.facts.outcome = self.outcome.clone();
        self.facts = begun(std::mem::take(&mut self.facts), order);
        if order.assignment == Assignment::Remove {
            self.facts.outcome = ApplyOutcome::Failed(NOT_REMOVED.to_owned());
        }
    }

    /// Takes the last heartbeat: the only contact with the cluster.
    fn take_heartbeat(&mut self, heartbeat: HeartbeatState) {
        if heartbeat.is_watched || heartbeat.received.is_some() {
            self.facts.contact = ClusterContact::Pulls;
        }
        if let Some(summary) = &heartbeat.summary {
            self.facts.stored = summary.registry_info_revision;
            if let Some(uid) = summary.cluster_uid.as_ref().filter(|uid| is_uid(uid)) {
                self.facts.uid.clone_from(uid);
            }
        }
        self.facts.heartbeat = heartbeat_facts(heartbeat);
    }
}

/// Waits for a change of the heartbeat.
async fn beaten(heartbeat: &mut Option<watch::Receiver<HeartbeatState>>) {
    if let Some(heartbeat) = heartbeat
        && heartbeat.changed().await.is_ok()
    {
        return;
    }
    pending::<()>().await;
}
