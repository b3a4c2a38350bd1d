//! Facts about a workload cluster, and the report that follows from them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use image_swap_cluster::clock::{now, written};
use image_swap_core::{
    declaration::UnixTime,
    fleet::{
        assignment::{Assignment, WaitReason},
        wave::ClusterProgress,
    },
    status::{
        cluster_summary::SummaryProblem,
        workload_cluster::{
            AccessState, ApplyOutcome, ClusterContact, ClusterFacts, HeartbeatFacts,
            RemovalProgress, status_of,
        },
    },
};
use tracing::warn;

use super::order::{ClusterOrder, ClusterReport, ClusterTask};
use crate::heartbeat::HeartbeatState;

/// Pause after the status of a cluster could not be written.
pub(super) const REPEAT: Duration = Duration::from_secs(5);

/// Reason to refuse an entry.
const MANAGEMENT: &str = "the kubeconfig is that of the management cluster, where the release \
                          itself brings its declaration into force; remove the entry";

/// Reason for which a cluster without heartbeats stops a rollout.
const SILENT: &str = "no heartbeat arrives in time: the controller of the cluster does not run, or \
                      cannot write its Lease";

/// Result of an attempt, apart from its facts.
#[derive(Default)]
pub(super) struct EndedAttempt {
    /// See [`ClusterReport::uid`].
    pub(super) uid: Option<String>,
    /// See [`ClusterReport::version`].
    pub(super) version: String,
    /// See [`ClusterReport::resumed`].
    pub(super) resumed: u64,
    /// True if every failure of the attempt may end by itself.
    pub(super) is_temporary: bool,
}

impl ClusterTask {
    /// Writes the status of the cluster, and reports to the controller. Returns false if the status
    /// could not be written. `sent` is the last report.
    pub(super) async fn publish_facts(
        &self,
        order: &ClusterOrder,
        facts: &ClusterFacts,
        attempt: EndedAttempt,
        sent: &mut Option<ClusterReport>,
    ) -> bool {
        let before = self.objects.status(&self.key);
        let mut status = status_of(facts, before.as_ref(), &written(now()));
        let is_judged = facts.uid.is_empty() || order.identity.as_ref() == Some(&facts.uid);
        // A restarted fleet controller must not take the entry for one that was in force.
        if is_of_other_entry(&order.assignment) {
            status.cluster_uid = String::new();
        } else if !is_judged {
            status.cluster_uid = before.map(|it| it.cluster_uid).unwrap_or_default();
        }
        let written = self.objects.publish(&self.key, &order.entry.origin, &status).await;
        if let Err(error) = &written {
            warn!(cluster = %self.key, %error, "cannot write the status of a workload cluster");
        }
        let EndedAttempt { uid, version, resumed, is_temporary } = attempt;
        let (revision, progress) = progress(facts, order, is_temporary);
        let state = status.state().to_owned();
        let report = ClusterReport { uid, version, resumed, progress, revision, state };
        if sent.as_ref() != Some(&report) {
            *sent = Some(report.clone());
            // The controller has ended.
            let _ = self.reports.send((self.key.clone(), report));
        }
        written.is_ok()
    }
}

/// Returns true if the cluster is that of another entry, or the management cluster.
const fn is_of_other_entry(assignment: &Assignment) -> bool {
    matches!(assignment, Assignment::Wait(WaitReason::Duplicate(_) | WaitReason::ManagementCluster))
}

/// Returns the facts at the beginning of an attempt: those of the order, and the other ones of
/// `facts`.
pub(super) fn begun(facts: ClusterFacts, order: &ClusterOrder) -> ClusterFacts {
    // The verdict stays until the identity by the present access is known.
    let is_unknown = order.assignment == Assignment::Identify;
    let removal = match facts.removal {
        _ if !is_unknown || !order.entry.settings.is_removed => RemovalProgress::None,
        RemovalProgress::None => RemovalProgress::Removing,
        known => known,
    };
    let mut facts = ClusterFacts {
        access: AccessState::Usable,
        is_paused: false,
        duplicate_of: facts.duplicate_of.filter(|_| is_unknown),
        duplicates: order.duplicates.iter().map(ToString::to_string).collect(),
        refused_declaration: order.refused_declaration.clone(),
        wave: facts.wave.filter(|_| is_unknown),
        removal,
        wanted: order.wanted,
        ..facts
    };
    let reason = match &order.assignment {
        Assignment::Wait(reason) => reason,
        Assignment::Keep(_, rollout) => {
            facts.wave = Some(rollout.clone());
            return facts;
        }
        Assignment::Identify | Assignment::Apply(_) | Assignment::Remove => return facts,
    };
    match reason {
        WaitReason::Access(reason) => facts.access = AccessState::Waiting(reason.clone()),
        WaitReason::Refused(reason) => facts.access = AccessState::Refused(reason.clone()),
        WaitReason::Paused => facts.is_paused = true,
        WaitReason::Duplicate(other) => facts.duplicate_of = Some(other.to_string()),
        WaitReason::ManagementCluster => {
            facts.access = AccessState::Refused(MANAGEMENT.to_owned());
        }
        WaitReason::Wave(reason) => facts.wave = Some(reason.clone()),
        WaitReason::NoDeclaration | WaitReason::Orphaned => {}
        WaitReason::UnknownRevision(number) => {
            facts.outcome = ApplyOutcome::Failed(format!(
                "the declaration {number} is not kept; remove the annotation of the cluster, or \
                 name a later number"
            ));
        }
    }
    facts
}

/// Returns the facts of a heartbeat.
pub(super) fn heartbeat_facts(heartbeat: HeartbeatState) -> HeartbeatFacts {
    HeartbeatFacts {
        received: heartbeat.received.and_then(seconds).map(written),
        is_stale: heartbeat.is_stale,
        summary: heartbeat.summary,
    }
}

/// Returns the progress of the cluster, with the number of the declaration that it is about.
fn progress(
    facts: &ClusterFacts,
    order: &ClusterOrder,
    is_temporary: bool,
) -> (Option<u64>, ClusterProgress) {
    if matches!(facts.contact, ClusterContact::Unreachable(_)) {
        return (order.newest, ClusterProgress::Unreachable);
    }
    let is_silent = facts.heartbeat.is_stale || facts.heartbeat.received.is_none();
    if facts.contact == ClusterContact::Pulls && is_silent {
        return (order.newest, ClusterProgress::Unreachable);
    }
    let Assignment::Apply(declaration) = &order.assignment else {
        return (order.newest, ClusterProgress::Pending);
    };
    let revision = declaration.revision;
    (Some(revision), progress_with(facts, revision, is_temporary))
}

/// Returns the progress with the declaration `revision`.
fn progress_with(facts: &ClusterFacts, revision: u64, is_temporary: bool) -> ClusterProgress {
    if let ApplyOutcome::Failed(reason) = &facts.outcome {
        if is_temporary {
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
    // The API server answers: a controller that cannot start must not pass for an outage.
    if facts.heartbeat.is_stale {
        return ClusterProgress::Failed(SILENT.to_owned());
    }
    let summary = facts.heartbeat.summary.as_ref();
    let summary = summary.filter(|it| it.reports(revision, &facts.stored_hash));
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

/// Returns a time of this machine's clock in seconds; `None` before 1970.
fn seconds(time: SystemTime) -> Option<UnixTime> {
    time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use image_swap_core::{
        control::effective::Effective,
        fleet::{
            assignment::AssignedDeclaration,
            inventory::{ClusterSettings, EntryAccess, InventoryEntry, OriginObject},
        },
        status::{cluster_summary::ClusterSummary, workload_cluster::WantedDeclaration},
    };

    use super::*;

    fn order() -> ClusterOrder {
        let origin =
            OriginObject { api_version: "v1".into(), kind: "Secret".into(), uid: "u".into() };
        let entry = InventoryEntry {
            origin,
            access: EntryAccess::Pulls,
            settings: ClusterSettings::default(),
            registry_info: None,
            labels: BTreeMap::new(),
        };
        let effective = Arc::new(Effective::none());
        ClusterOrder {
            entry: Arc::new(entry),
            assignment: Assignment::Apply(AssignedDeclaration { revision: 2, effective }),
            wanted: WantedDeclaration::Revision(2),
            bundle: Err("none".into()),
            refused_declaration: None,
            newest: Some(2),
            identity: None,
            duplicates: Vec::new(),
            resumed: 0,
        }
    }

    #[test]
    fn silent_cluster_that_pulls_blocks_no_wave() {
        let summary =
            ClusterSummary { registry_info_revision: Some(1), ..ClusterSummary::default() };
        let heartbeat = HeartbeatFacts {
            summary: Some(summary),
            received: Some("2026-11-29T10:00:00Z".into()),
            is_stale: false,
        };
        let contact = ClusterContact::Pulls;
        let mut facts = ClusterFacts { contact, stored: Some(1), heartbeat, ..begun_facts() };
        assert_eq!(progress(&facts, &order(), false), (Some(2), ClusterProgress::Pending));
        facts.heartbeat.is_stale = true;
        assert_eq!(progress(&facts, &order(), false), (Some(2), ClusterProgress::Unreachable));
        facts.heartbeat = HeartbeatFacts::default();
        assert_eq!(progress(&facts, &order(), false), (Some(2), ClusterProgress::Unreachable));
    }

    #[test]
    fn former_declaration_is_no_progress() {
        let former = AssignedDeclaration { revision: 1, effective: Arc::new(Effective::none()) };
        let assignment = Assignment::Keep(former, "waits for a".into());
        let kept = ClusterOrder { assignment, ..order() };
        let facts = begun(ClusterFacts::default(), &kept);
        assert_eq!(facts.wave.as_deref(), Some("waits for a"));
        assert_eq!(facts.wanted, WantedDeclaration::Revision(2));
        // A conflict in a cluster that waits stops no rollout.
        let facts = ClusterFacts {
            contact: ClusterContact::Reached,
            stored: Some(1),
            conflicts: vec!["a field".into()],
            ..facts
        };
        assert_eq!(progress(&facts, &kept, false), (Some(2), ClusterProgress::Pending));
    }

    #[test]
    fn renewed_access_changes_no_verdict() {
        let identify = ClusterOrder { assignment: Assignment::Identify, ..order() };
        let mut entry = (*identify.entry).clone();
        entry.settings.is_removed = true;
        let removed = ClusterOrder { entry: Arc::new(entry), ..identify.clone() };
        let known = ClusterFacts {
            duplicate_of: Some("x/y".into()),
            wave: Some("waits for a".into()),
            removal: RemovalProgress::Removed,
            wanted: WantedDeclaration::Revision(2),
            ..ClusterFacts::default()
        };
        assert_eq!(begun(known.clone(), &removed), known);
        let started = begun(ClusterFacts::default(), &removed);
        assert_eq!(started.removal, RemovalProgress::Removing);
        let others = ClusterFacts { removal: RemovalProgress::None, ..known.clone() };
        assert_eq!(begun(known.clone(), &identify), others);
        assert_eq!(begun(known, &order()), begun_facts());
    }

    #[test]
    fn silent_controller_fails_its_cluster() {
        let contact = ClusterContact::Reached;
        let mut facts = ClusterFacts { contact, stored: Some(2), ..begun_facts() };
        let failed = ClusterProgress::Failed(SILENT.into());
        let of = |facts: &ClusterFacts| progress(facts, &order(), false);
        assert_eq!(of(&facts), (Some(2), ClusterProgress::Pending));
        facts.heartbeat.is_stale = true;
        assert_eq!(of(&facts), (Some(2), failed.clone()));
        // An earlier heartbeat with the declaration proves nothing about the present.
        facts.heartbeat.summary =
            Some(ClusterSummary { registry_info_revision: Some(2), ..ClusterSummary::default() });
        facts.heartbeat.received = Some("2026-11-29T10:00:00Z".into());
        assert_eq!(of(&facts), (Some(2), failed));
        facts.heartbeat.is_stale = false;
        assert_eq!(of(&facts), (Some(2), ClusterProgress::Verified));
        // Without the declaration, and without an answer.
        facts.heartbeat.is_stale = true;
        let before = ClusterFacts { stored: Some(1), ..facts.clone() };
        assert_eq!(of(&before), (Some(2), ClusterProgress::Pending));
        facts.contact = ClusterContact::Unreachable("timed out".into());
        assert_eq!(of(&facts), (Some(2), ClusterProgress::Unreachable));
    }

    fn begun_facts() -> ClusterFacts {
        let facts = begun(ClusterFacts::default(), &order());
        assert_eq!(facts.wanted, WantedDeclaration::Revision(2));
        facts
    }
}
