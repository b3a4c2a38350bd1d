//! State of the task of one workload cluster.

use std::{sync::Arc, time::Duration};

use image_swap_core::{
    declaration::UnixTime,
    fleet::{bundle::BundlePhase, drift::RepairLog},
    status::workload_cluster::{ApplyOutcome, ClusterFacts},
};
use tokio::time::Instant;

use super::{connection::ClusterSession, signs::HeartbeatSigns};
use crate::{
    controller::{
        facts::heartbeat_facts,
        filled::FilledBundle,
        order::{ClusterOrder, ClusterReport},
    },
    remote::{ApplyReport, ContestedObject, FleetToken},
};

/// Read of the token that a former leader stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenRead {
    /// Not read yet.
    Pending,
    /// Read, or replaced by another one.
    Done,
}

/// State of a task.
pub(super) struct TaskState {
    pub(super) session: Option<ClusterSession>,
    /// Token of the fleet controller for the cluster; `None` before the first.
    pub(super) token: Option<FleetToken>,
    /// Read of the token that a former leader stored.
    pub(super) token_read: TokenRead,
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
    /// Signs of heartbeats that something changed the cluster.
    pub(super) signs: HeartbeatSigns,
    /// True if the API server refused a request with the status 403, so that the credential of the
    /// inventory is tried before the token.
    pub(super) is_forbidden: bool,
    /// Report that was sent last.
    pub(super) sent: Option<ClusterReport>,
}

impl TaskState {
    /// Returns true if the connection is to the cluster that `order` is about.
    pub(super) fn is_that_of(&self, order: &ClusterOrder) -> bool {
        self.session.as_ref().is_some_and(|it| order.identity.as_ref() == Some(&it.uid))
    }

    /// Takes the last heartbeat. Plans a full comparison if it shows that something changed the
    /// cluster.
    pub(super) fn take_heartbeat(&mut self) {
        let Some(session) = &mut self.session else { return };
        let heartbeat = session.heartbeat.borrow_and_update().clone();
        let became_stale = heartbeat.is_stale && !self.facts.heartbeat.is_stale;
        self.signs.is_lost |= became_stale;
        self.signs.refused = heartbeat.refused.filter(|code| matches!(code, 401 | 403));
        self.facts.heartbeat = heartbeat_facts(heartbeat);
        let applied = self.applied.as_ref();
        self.signs.take(applied.map(|it| it.stored()), self.facts.heartbeat.summary.as_ref());
    }

    /// Returns the time of the next comparison or attempt; `None` if only an order or a heartbeat
    /// starts one.
    pub(super) fn next(&self) -> Option<Instant> {
        [self.due, self.signs.due()].into_iter().flatten().min()
    }

    /// Begins what is due: a full comparison, on another connection if the API server refuses the
    /// present one.
    pub(super) fn begin_due(&mut self) {
        let now = Instant::now();
        if self.signs.due().is_some_and(|it| it <= now) {
            if let Some(code) = self.signs.refused {
                self.session = None;
                self.is_forbidden |= code == 403;
            }
            self.signs.begin(now);
            self.applied = None;
        }
        if self.due.is_some_and(|it| it <= now) {
            self.due = None;
            self.applied = None;
        }
    }

    pub(super) fn take_report(&mut self, report: &ApplyReport) {
        self.signs.settle();
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

/// Returns an object that another writer holds or changes, with its first field.
fn contested(object: &ContestedObject) -> String {
    let ContestedObject { object, fields, wait } = object;
    match (fields.first(), wait) {
        (Some(field), _) => format!("{object}: {} by {}", field.field, field.manager),
        (None, Some(_)) => format!("{object}: deleted"),
        (None, None) => format!("{object} belongs to another Helm release"),
    }
}
