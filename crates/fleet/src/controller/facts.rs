//! Facts about a workload cluster, and the report that follows from them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use image_swap_cluster::clock::{now, written};
use image_swap_core::{
    declaration::UnixTime,
    fleet::assignment::{Assignment, WaitReason},
    status::workload_cluster::{
        AccessState, ApplyOutcome, ClusterFacts, HeartbeatFacts, RemovalProgress, status_of,
    },
};
use tracing::warn;

use super::{
    order::{ClusterOrder, ClusterReport, ClusterTask},
    progress::{bundle_progress, progress},
};
use crate::heartbeat::HeartbeatState;

/// Pause after the status of a cluster could not be written.
pub(super) const REPEAT: Duration = Duration::from_secs(5);

/// Reason to refuse an entry.
const MANAGEMENT: &str = "the kubeconfig is that of the management cluster, where the release \
                          itself brings its declaration into force; remove the entry";

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
        let report = ClusterReport {
            uid,
            version,
            resumed,
            progress,
            revision,
            bundle_progress: bundle_progress(facts, order, is_temporary),
            bundle: order.bundle.as_ref().ok().map(|it| it.hash.clone()),
            state: status.state().to_owned(),
        };
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
        bundle_wave: order.kept_bundle.clone(),
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
            wave::ClusterProgress,
        },
        status::{
            cluster_summary::{ClusterSummary, ReplicaCount, SummaryProblem},
            workload_cluster::{ClusterContact, WantedDeclaration},
        },
    };

    use super::*;
    use crate::controller::{hub::HubBundle, progress::SILENT};

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
            kept_bundle: None,
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

    /// Returns the order to apply a bundle, and facts after it: the controller of the cluster has
    /// reported the bundle `reported`.
    fn bundle_order(reported: &str) -> (ClusterOrder, ClusterFacts) {
        let bundle = Arc::new(HubBundle::parse("").unwrap());
        let summary = ClusterSummary {
            registry_info_revision: Some(2),
            bundle_hash: Some(reported.to_owned()),
            ..ClusterSummary::default()
        };
        let facts = ClusterFacts {
            contact: ClusterContact::Reached,
            stored: Some(2),
            stored_bundle: bundle.hash.clone(),
            heartbeat: HeartbeatFacts {
                summary: Some(summary),
                received: Some("2026-11-29T10:00:00Z".into()),
                is_stale: false,
            },
            ..begun_facts()
        };
        (ClusterOrder { bundle: Ok(bundle), ..order() }, facts)
    }

    #[test]
    fn controller_verifies_the_bundle_it_runs_from() {
        use ClusterProgress::{Applied, Failed, Pending, Unreachable, Verified};
        let (order, mut facts) = bundle_order("former");
        let hash = order.bundle.as_ref().unwrap().hash.clone();
        let of = |facts: &ClusterFacts| bundle_progress(facts, &order, false);
        assert_eq!(of(&facts), Pending, "the former controller runs");
        assert_eq!(progress(&facts, &order, false), (Some(2), Verified));
        let summary = facts.heartbeat.summary.as_mut().unwrap();
        summary.bundle_hash = None;
        assert_eq!(of(&facts), Pending, "an older controller has no hash");
        let summary = facts.heartbeat.summary.as_mut().unwrap();
        summary.problems = vec![SummaryProblem::NodeTrialFailed];
        assert_eq!(of(&facts), Pending, "a trial of the former bundle failed");
        let summary = facts.heartbeat.summary.as_mut().unwrap();
        summary.bundle_hash = Some(hash);
        assert_eq!(of(&facts), Failed(SummaryProblem::NodeTrialFailed.message().into()));
        let summary = facts.heartbeat.summary.as_mut().unwrap();
        summary.problems.clear();
        assert_eq!(of(&facts), Verified);
        let summary = facts.heartbeat.summary.as_mut().unwrap();
        summary.replicas = Some(ReplicaCount { ready: 1, total: 2 });
        assert_eq!(of(&facts), Applied, "the new webhook does not start");
        assert_eq!(progress(&facts, &order, false), (Some(2), Verified));
        let stale = HeartbeatFacts { is_stale: true, ..facts.heartbeat.clone() };
        let stale = ClusterFacts { heartbeat: stale, ..facts.clone() };
        assert_eq!(of(&stale), Failed(SILENT.into()));
        let before = ClusterFacts { stored_bundle: "former".into(), ..stale };
        assert_eq!(of(&before), Pending, "nothing is applied yet");
        let failed = ClusterFacts { outcome: ApplyOutcome::Failed("denied".into()), ..before };
        assert_eq!(of(&failed), Failed("denied".into()));
        assert_eq!(bundle_progress(&failed, &order, true), Pending);
        let away = ClusterFacts { contact: ClusterContact::Unreachable("late".into()), ..failed };
        assert_eq!(of(&away), Unreachable);
    }

    #[test]
    fn kept_bundle_is_pending_unless_the_new_one_runs() {
        use ClusterProgress::{Pending, Verified};
        let (order, mut facts) = bundle_order("former");
        let hash = order.bundle.as_ref().unwrap().hash.clone();
        let order = ClusterOrder { kept_bundle: Some("bundle: waits".into()), ..order };
        facts.conflicts.push("a field".into());
        assert_eq!(bundle_progress(&facts, &order, false), Pending);
        let summary = facts.heartbeat.summary.as_mut().unwrap();
        summary.bundle_hash = Some(hash);
        assert_eq!(bundle_progress(&facts, &order, false), Verified);
        facts.heartbeat.is_stale = true;
        assert_eq!(bundle_progress(&facts, &order, false), Pending);
        assert_eq!(begun(facts, &order).bundle_wave.as_deref(), Some("bundle: waits"));
    }

    fn begun_facts() -> ClusterFacts {
        let facts = begun(ClusterFacts::default(), &order());
        assert_eq!(facts.wanted, WantedDeclaration::Revision(2));
        facts
    }
}
