//! State of the task of one workload cluster.

use std::{sync::Arc, time::Duration};

use image_swap_core::{
    declaration::UnixTime,
    fleet::{bundle::BundlePhase, drift::RepairLog},
    status::workload_cluster::{ApplyOutcome, ClusterFacts},
};
use tokio::time::Instant;

use super::connection::ClusterSession;
use crate::{
    controller::{
        facts::heartbeat_facts,
        filled::FilledBundle,
        order::{ClusterOrder, ClusterReport},
    },
    remote::{ApplyReport, ContestedObject, FleetToken},
};

/// State of a task.
pub(super) struct TaskState {
    pub(super) session: Option<ClusterSession>,
    /// Token of the fleet controller for the cluster; `None` before the first.
    pub(super) token: Option<FleetToken>,
    pub(super) facts: ClusterFacts,
    /// True if image-swap has been removed from the cluster.
    pub(super) is_removed: bool,
    /// Objects that are in force since the last comparison or apply; `None` if the next apply
    /// compares all of them.
    pub(super) applied: Option<Arc<FilledBundle>>,
    /// Version of the access by which the identity was read; empty before the first contact.
    pub(super) version: String,
    /// Time before which no token is requested.
    pub(super) token_wait: Option<Instant>,
    /// True if every failure of the last attempt may end by itself.
    pub(super) is_temporary: bool,
    /// Number of resumed rollouts, as in the last order.
    pub(super) resumed: u64,
    pub(super) repairs: RepairLog,
    /// Time of the next comparison or attempt; `None` if only an order or a heartbeat starts one.
    pub(super) due: Option<Instant>,
    /// Report that was sent last.
    pub(super) sent: Option<ClusterReport>,
}

impl TaskState {
    /// Returns true if the connection is to the cluster that `order` is about.
    pub(super) fn is_that_of(&self, order: &ClusterOrder) -> bool {
        self.session.as_ref().is_some_and(|it| order.identity.as_ref() == Some(&it.uid))
    }

    /// Takes the last heartbeat.
    pub(super) fn take_heartbeat(&mut self) {
        let Some(session) = &mut self.session else { return };
        let heartbeat = session.heartbeat.borrow_and_update().clone();
        self.facts.heartbeat = heartbeat_facts(heartbeat);
    }

    /// Plans a full comparison if the heartbeat shows that something changed the cluster: it is
    /// stale, or reports another declaration than the applied one.
    pub(super) fn compare_if_needed(&mut self) {
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

    pub(super) fn take_report(&mut self, report: &ApplyReport) {
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
}

/// Returns an object that another writer holds, with its first field.
fn contested(object: &ContestedObject) -> String {
    match object.fields.first() {
        Some(field) => format!("{}: {} by {}", object.object, field.field, field.manager),
        None => format!("{} belongs to another Helm release", object.object),
    }
}
