//! The status of a workload cluster, from the facts about it.

use super::{
    APPLIED, ApplyOutcome, CONFLICT, ClusterContact, ClusterFacts, HEALTHY, NodesInCluster,
    REACHABLE, RemovalProgress, WorkloadClusterStatus,
    message::{MESSAGE, bounded},
    reason,
    verdict::Verdict,
};
use crate::status::{
    cluster_summary::ClusterSummary,
    node_mirror::{NodeCondition, UNKNOWN},
};

/// Reasons of conditions that are errors.
pub(super) const ERRORS: [&str; 10] = [
    reason::UNREACHABLE,
    reason::REFUSED,
    reason::DUPLICATE,
    reason::CONFLICT,
    reason::FAILED,
    reason::DECLARATION_REFUSED,
    reason::HEARTBEAT_STALE,
    reason::SUMMARY_INVALID,
    reason::PROBLEMS,
    reason::DRIFT,
];

/// Reasons of [`APPLIED`] that hold after a restart of the fleet controller, until the first
/// comparison.
const COMPARED: [&str; 5] = [
    reason::IN_FORCE,
    reason::APPLYING,
    reason::CONFLICT,
    reason::FAILED,
    reason::WAITING_FOR_WAVE,
];

/// Returns the status of a cluster at the time `now`, in RFC 3339. `before` is the present status
/// of its object; `None` without one. If nothing changed, the result equals it.
pub fn status_of(
    facts: &ClusterFacts,
    before: Option<&WorkloadClusterStatus>,
    now: &str,
) -> WorkloadClusterStatus {
    // After a restart of the fleet controller, the last status holds until the first contact.
    if let Some(before) = before.filter(|it| facts.is_untried() && !it.conditions.is_empty()) {
        return before.clone();
    }
    let nothing = WorkloadClusterStatus::default();
    let before = before.unwrap_or(&nothing);
    let kept = KeptConditions::of(facts, before);
    let conditions = conditions(facts, (before, kept), now);
    let error = error(&conditions);
    let is_reached = facts.is_in_contact();
    let is_removed = facts.removal == RemovalProgress::Removed;
    let summary = facts.heartbeat.summary.as_ref();
    let counted = |it: &ClusterSummary| {
        it.nodes.map(|it| NodesInCluster { total: it.total, applied: it.applied })
    };
    let nodes = summary.map_or(before.nodes, counted).filter(|_| !is_removed);
    let error_time = || before.last_error_time.clone().unwrap_or_else(|| now.to_owned());
    let last_heartbeat = if kept.is_healthy_kept {
        before.last_heartbeat_time.clone()
    } else {
        facts.heartbeat.received.clone().filter(|_| facts.heartbeat.is_stale)
    };
    WorkloadClusterStatus {
        cluster_uid: if is_uid(&facts.uid) {
            facts.uid.clone()
        } else {
            before.cluster_uid.clone()
        },
        wanted_revision: facts.wanted.revision(),
        applied_revision: match facts.stored {
            _ if is_removed => None,
            None if !is_reached || is_uncompared(facts, before) => before.applied_revision,
            stored => stored,
        },
        last_heartbeat_time: last_heartbeat,
        nodes,
        node_summary: nodes.map_or_else(String::new, |it| format!("{}/{}", it.applied, it.total)),
        webhook: match summary {
            _ if is_removed => String::new(),
            Some(summary) => summary.webhook.as_str().to_owned(),
            None => before.webhook.clone(),
        },
        pods_not_from_mirror: match summary {
            _ if is_removed => None,
            Some(summary) => summary.pods_not_from_mirror,
            None => before.pods_not_from_mirror,
        },
        last_error_time: error.is_some().then(error_time),
        last_error: error,
        conditions,
    }
}

/// Conditions of the last status that hold until the first comparison with the cluster after a
/// restart of the fleet controller.
#[derive(Clone, Copy, Default)]
struct KeptConditions {
    /// True for [`APPLIED`] and [`CONFLICT`].
    is_applied_kept: bool,
    /// True for [`HEALTHY`].
    is_healthy_kept: bool,
}

impl KeptConditions {
    fn of(facts: &ClusterFacts, before: &WorkloadClusterStatus) -> Self {
        if !is_uncompared(facts, before) {
            return Self::default();
        }
        let has_reason = |it: &NodeCondition| COMPARED.contains(&&*it.reason);
        let is_same = facts.wanted.revision() == before.wanted_revision;
        let is_known =
            |it: &NodeCondition| it.status != UNKNOWN && it.reason != reason::DECLARATION_REFUSED;
        let is_unheard = facts.healthy().1 == reason::NO_HEARTBEAT
            && !facts.heartbeat.is_stale
            && !facts.is_duplicate_or_removed();
        Self {
            is_applied_kept: is_same
                && facts.applied().1 == reason::APPLYING
                && before.condition(APPLIED).is_some_and(has_reason),
            is_healthy_kept: is_unheard && before.condition(HEALTHY).is_some_and(is_known),
        }
    }

    fn includes(self, kind: &str) -> bool {
        match kind {
            APPLIED | CONFLICT => self.is_applied_kept,
            HEALTHY => self.is_healthy_kept,
            _ => false,
        }
    }
}

/// Returns true if the cluster of `before` answers, and nothing has been applied to it yet.
fn is_uncompared(facts: &ClusterFacts, before: &WorkloadClusterStatus) -> bool {
    facts.contact == ClusterContact::Reached
        && facts.outcome == ApplyOutcome::Pending
        && facts.stored.is_none()
        && is_uid(&facts.uid)
        && facts.uid == before.cluster_uid
}

/// Returns the conditions, of which `kept` are those of `before`.
fn conditions(
    facts: &ClusterFacts,
    (before, kept): (&WorkloadClusterStatus, KeptConditions),
    now: &str,
) -> Vec<NodeCondition> {
    let verdicts = [
        (APPLIED, facts.applied()),
        (CONFLICT, facts.conflict()),
        (HEALTHY, facts.healthy()),
        (REACHABLE, facts.reachable()),
    ];
    let of = |(kind, verdict): (&str, Verdict)| {
        let last = before.condition(kind).filter(|_| kept.includes(kind));
        last.cloned().unwrap_or_else(|| condition(kind, verdict, before, now))
    };
    verdicts.into_iter().map(of).collect()
}

/// Returns the present error; `None` without one.
fn error(conditions: &[NodeCondition]) -> Option<String> {
    let of = |kind: &str| conditions.iter().find(|it| it.kind == kind);
    let mut found = [APPLIED, HEALTHY].into_iter().filter_map(of);
    found.find(|it| ERRORS.contains(&&*it.reason)).map(|it| it.message.clone())
}

fn condition(
    kind: &str,
    (status, reason, message): Verdict,
    before: &WorkloadClusterStatus,
    now: &str,
) -> NodeCondition {
    let same = before.condition(kind).filter(|it| it.status == status);
    let since = same.map(|it| &*it.last_transition_time).filter(|it| !it.is_empty());
    NodeCondition {
        kind: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: bounded(&message, MESSAGE),
        last_transition_time: since.unwrap_or(now).to_owned(),
    }
}

/// Returns true if `text` has the form of a UID. Another text may be the choice of a workload
/// cluster.
pub fn is_uid(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_hexdigit() || it == b'-')
}
