//! The status of a workload cluster, from the facts about it.

use super::{
    APPLIED, CONFLICT, ClusterFacts, HEALTHY, NodesInCluster, REACHABLE, RemovalProgress,
    WantedDeclaration, WorkloadClusterStatus,
    message::{MESSAGE, bounded},
    reason,
    verdict::Verdict,
};
use crate::status::{cluster_summary::ClusterSummary, node_mirror::NodeCondition};

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
    let verdicts = [
        (APPLIED, facts.applied()),
        (CONFLICT, facts.conflict()),
        (HEALTHY, facts.healthy()),
        (REACHABLE, facts.reachable()),
    ];
    let error = error(&verdicts);
    let conditions =
        verdicts.into_iter().map(|(kind, verdict)| condition(kind, verdict, before, now));
    let is_reached = facts.is_in_contact();
    let is_removed = facts.removal == RemovalProgress::Removed;
    let summary = facts.heartbeat.summary.as_ref();
    let counted = |it: &ClusterSummary| {
        it.nodes.map(|it| NodesInCluster { total: it.total, applied: it.applied })
    };
    let nodes = summary.map_or(before.nodes, counted).filter(|_| !is_removed);
    let error_time = || before.last_error_time.clone().unwrap_or_else(|| now.to_owned());
    let received = facts.heartbeat.received.clone().filter(|_| facts.heartbeat.is_stale);
    WorkloadClusterStatus {
        cluster_uid: if is_uid(&facts.uid) {
            facts.uid.clone()
        } else {
            before.cluster_uid.clone()
        },
        wanted_revision: match facts.wanted {
            WantedDeclaration::Revision(number) => Some(number),
            WantedDeclaration::None | WantedDeclaration::Orphaned => None,
        },
        applied_revision: match facts.stored {
            _ if is_removed => None,
            None if !is_reached => before.applied_revision,
            stored => stored,
        },
        last_heartbeat_time: received,
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
        conditions: conditions.collect(),
    }
}

/// Returns the present error; `None` without one.
fn error(verdicts: &[(&str, Verdict)]) -> Option<String> {
    let of = |kind: &str| verdicts.iter().find(|(it, _)| *it == kind).map(|(_, it)| it);
    let found = [APPLIED, HEALTHY].into_iter().filter_map(of);
    let mut found = found.filter(|(_, reason, _)| ERRORS.contains(reason));
    found.next().map(|(.., message)| bounded(message, MESSAGE))
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
