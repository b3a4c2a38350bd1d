//! The state of the controller of nodes while it leads.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use image_swap_core::{
    control::{
        effective::Effective,
        rate_limit::RewriteLimit,
        rollout::{RolloutDecision, RolloutNode, TrialPull},
    },
    status::NodeDeclaration,
};
use kube::runtime::watcher::Event;
use tokio::time::Instant;
use tracing::warn;

use super::{
    mirrors::NodeWritten,
    observed::{MirrorRow, NodeRow, NodeTables},
    restarts::RestartMemory,
    trial::{TrialImage, Trials},
    view::{NodeView, views},
};
use crate::error::Error;

/// First wait of a write that failed, and the longest.
const RETRY: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(30)];
/// Longest time for which the end of a trial waits for the deletion of its pods. A kubelet that
/// does not answer deletes none.
pub(super) const DELETION: Duration = Duration::from_secs(30);
/// Key of the rollout among the writes that wait.
pub(super) const ROLLOUT: &str = "";
/// Key of restarts among the writes that wait.
pub(super) const RESTARTS: &str = " restarts";

/// The state of the controller that leads.
#[derive(Default)]
pub(super) struct NodeWork {
    pub(super) tables: NodeTables,
    /// Reasons why kinds of objects cannot be watched, by kind.
    pub(super) unwatched: BTreeMap<&'static str, String>,
    /// True if the last obstacle ended, and no reconciliation has begun since.
    pub(super) is_unblocked: bool,
    pub(super) trials: Trials,
    pub(super) restarts: RestartMemory,
    pub(super) rewrites: RewriteLimit<String>,
    /// Nodes without a reporting agent, with the time since when.
    silent: HashMap<String, Instant>,
    /// Writes that failed, by the name of the node.
    pub(super) waiting: BTreeMap<String, FailedWrite>,
    /// Reason of the condition Verified; `None` before the first trial of this leader.
    pub(super) proof: Option<&'static str>,
    /// The end of a trial, with the time of the decision; `None` unless its pods are being
    /// deleted.
    pub(super) ending: Option<(RolloutDecision, Instant)>,
}

/// A write that failed and waits.
pub(super) struct FailedWrite {
    until: Instant,
    wait: Duration,
    /// Reason of the failure; empty for a conflict, and for a write that did not fail.
    pub(super) reason: String,
}

impl NodeWork {
    /// Returns the nodes that an agent can configure.
    pub(super) fn rollout_nodes(
        &mut self,
        stored: &NodeDeclaration,
        effective: &Effective,
        image: &TrialImage,
    ) -> Vec<RolloutNode> {
        let number = stored.trial.as_ref().map(|trial| trial.revision.number);
        let mut pulls = HashMap::new();
        for (_, pod) in self.tables.trials.iter() {
            if Some(pod.number) == number {
                let pull = self.trials.pull(pod, effective, image);
                pulls.insert(pod.node.clone(), pull);
            }
        }
        let views = views(&self.tables);
        let agents = views.into_iter().filter(NodeView::has_support);
        let node = |view: NodeView<'_>| RolloutNode {
            name: view.name.to_owned(),
            class: view.runtime_version().to_owned(),
            is_control_plane: view.row.is_control_plane,
            has_agent: view.has_agent,
            report: view.report(),
            pull: pulls.remove(view.name).unwrap_or(TrialPull::Absent),
        };
        agents.map(node).collect()
    }

    /// Returns the highest number that a `NodeMirror` reports.
    pub(super) fn reported(&self) -> u64 {
        let numbers = self.tables.mirrors.iter().flat_map(|(_, mirror)| {
            [mirror.status.applied_revision, mirror.status.wanted_revision]
        });
        numbers.flatten().max().unwrap_or(0)
    }

    /// Records since when each node has no reporting agent.
    pub(super) fn note_silence(&mut self) {
        let views = views(&self.tables);
        let silent = views.iter().filter(|view| !view.is_reporting()).map(|view| view.name);
        let at = |name: &str| self.silent.get(name).copied().unwrap_or_else(Instant::now);
        self.silent = silent.map(|name| (name.to_owned(), at(name))).collect();
    }

    /// Returns true if the node `name` has had no reporting agent for the time `deadline`.
    pub(super) fn is_late(&self, name: &str, deadline: Duration) -> bool {
        self.silent.get(name).is_some_and(|since| since.elapsed() >= deadline)
    }

    pub(super) fn is_due(&self, name: &str, at: Instant) -> bool {
        self.waiting.get(name).is_none_or(|it| it.until <= at)
    }

    /// Returns the time of the next step if nothing happens.
    pub(super) fn wake(&self, deadline: Duration) -> Option<Instant> {
        let now = Instant::now();
        let waiting = self.waiting.values().map(|it| it.until);
        let silent = self.silent.values().map(|since| *since + deadline);
        let ending = self.ending.iter().map(|(_, decided)| *decided + DELETION);
        let restarts = self.restarts.wake;
        let steps = waiting.chain(silent).chain(ending).chain(restarts).filter(|at| *at > now);
        steps.chain(self.trials.wake()).min()
    }

    pub(super) fn wait(&mut self, name: &str, until: Instant, reason: String) {
        let wait = RETRY[0];
        self.waiting.insert(name.to_owned(), FailedWrite { until, wait, reason });
    }

    /// Records a write that failed.
    pub(super) fn note_failure(&mut self, name: &str, error: &Error) {
        let [first, longest] = RETRY;
        let before = self.waiting.get(name);
        let wait = before.map_or(first, |it| (it.wait * 2).min(longest));
        let wait = match error {
            Error::Paced { seconds, .. } => Duration::from_secs(*seconds),
            _ => wait,
        };
        let reason = if error.is_conflict() { String::new() } else { error.to_string() };
        if !reason.is_empty() && before.is_none_or(|before| before.reason != reason) {
            warn!(reason, "cannot roll the declaration out to nodes; retrying");
        }
        let until = Instant::now() + wait;
        self.waiting.insert(name.to_owned(), FailedWrite { until, wait, reason });
    }

    /// Records the outcome of a write to the node `name`.
    pub(super) fn note_written(&mut self, name: &str, outcome: Result<NodeWritten, Error>) {
        let tables = &mut self.tables;
        match outcome {
            Ok(NodeWritten::Node(node)) => {
                tables.nodes.note(Event::Apply(node), NodeRow::read);
            }
            Ok(NodeWritten::Mirror(mirror)) => {
                tables.mirrors.note(Event::Apply(mirror), MirrorRow::read);
            }
            Ok(NodeWritten::Gone) => {
                tables.mirrors.remove(name);
            }
            Err(error) => return self.note_failure(name, &error),
        }
        self.waiting.remove(name);
    }
}
