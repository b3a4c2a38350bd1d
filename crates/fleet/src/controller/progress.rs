//! Progress of a workload cluster with declaration and bundle, from the facts about it.

use image_swap_core::{
    fleet::{assignment::Assignment, wave::ClusterProgress},
    status::{
        cluster_summary::SummaryProblem,
        workload_cluster::{ApplyOutcome, ClusterContact, ClusterFacts},
    },
};

use super::order::ClusterOrder;

/// Reason for which a cluster without heartbeats stops a rollout.
pub(super) const SILENT: &str = "no heartbeat arrives in time: the controller of the cluster does not run, or \
                      cannot write its Lease";

/// Returns the progress of the cluster, with the number of the declaration that it is about.
pub(super) fn progress(
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

/// Returns the progress of the cluster with the bundle of `order`.
pub(super) fn bundle_progress(
    facts: &ClusterFacts,
    order: &ClusterOrder,
    is_temporary: bool,
) -> ClusterProgress {
    if matches!(facts.contact, ClusterContact::Unreachable(_)) {
        return ClusterProgress::Unreachable;
    }
    let (Ok(bundle), Some(declaration)) = (&order.bundle, order.assignment.declaration()) else {
        return ClusterProgress::Pending;
    };
    let summary = facts.heartbeat.summary.as_ref().filter(|_| !facts.heartbeat.is_stale);
    let is_running = summary.is_some_and(|it| it.bundle_hash.as_ref() == Some(&bundle.hash));
    if order.kept_bundle.is_some() {
        // A cluster to which the bundle was applied before.
        return if is_running { ClusterProgress::Verified } else { ClusterProgress::Pending };
    }
    if let Some(ended) = ended_apply(facts, is_temporary) {
        return ended;
    }
    if facts.stored_bundle != bundle.hash {
        return ClusterProgress::Pending;
    }
    match progress_with(facts, declaration.revision, is_temporary) {
        // The former controller goes on: its problems are not those of the bundle.
        _ if !is_running && !facts.heartbeat.is_stale => ClusterProgress::Pending,
        // Images that cannot be pulled, or a webhook that does not start.
        ClusterProgress::Verified
            if summary.and_then(|it| it.replicas).is_some_and(|it| it.ready < it.total) =>
        {
            ClusterProgress::Applied
        }
        progress => progress,
    }
}

/// Returns the progress if the last apply failed or met a conflict; `None` otherwise.
fn ended_apply(facts: &ClusterFacts, is_temporary: bool) -> Option<ClusterProgress> {
    match (&facts.outcome, facts.conflicts.first()) {
        (ApplyOutcome::Failed(_), _) if is_temporary => Some(ClusterProgress::Pending),
        (ApplyOutcome::Failed(reason), _) => Some(ClusterProgress::Failed(reason.clone())),
        (_, Some(conflict)) => Some(ClusterProgress::Failed(format!("conflict: {conflict}"))),
        (ApplyOutcome::Pending | ApplyOutcome::Complete, None) => None,
    }
}

/// Returns the progress with the declaration `revision`.
fn progress_with(facts: &ClusterFacts, revision: u64, is_temporary: bool) -> ClusterProgress {
    if let Some(ended) = ended_apply(facts, is_temporary) {
        return ended;
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
