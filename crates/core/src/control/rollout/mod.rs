//! The rollout of a declaration to nodes: first to one node of each runtime version.
//!
//! Nodes whose trial pull has succeeded prove a declaration for their class. Once every class
//! is proven, or has no node that could prove it, all nodes get the declaration. If one trial
//! pull fails, no node has the declaration, and the verified one stays in force.
//!
//! Numbers only rise, and each names one content. A declaration that is declared again after
//! another one was on trial therefore gets a new number.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    control::effective::{Effective, Origin},
    mirror::Fallback,
    status::{FailedTrial, NodeDeclaration, NodeRevision, NodeTrial},
};

/// The highest number that a report is trusted with. One node cannot use up all numbers.
const PLAUSIBLE: u64 = 1 << 52;
/// Prefix of the reason of a trial that failed while the registry did not answer.
const UNREACHABLE: &str = "registry unreachable: ";
/// Prefix of the reason of a trial that failed while the check of the registry did.
const BAD: &str = "registry check failed: ";
/// Maximum number of nodes that a summary names.
const NAMED: usize = 5;

/// Observations that a rollout is decided from.
#[derive(Clone, Debug)]
pub struct RolloutInput<'a> {
    /// The declaration in force, as [`Effective::for_nodes`] returns it.
    pub wanted: &'a Effective,
    /// Requests to the public registry after the mirrors.
    pub fallback: Fallback,
    /// Content of the Secret `N-nodes`; empty if it is absent.
    pub stored: &'a NodeDeclaration,
    /// Highest number that any `NodeMirror` reports; 0 without any.
    pub reported: u64,
    /// Nodes on which agents are supported.
    pub nodes: &'a [RolloutNode],
    /// Last check of the registry with the declaration `wanted`.
    pub registry: RegistryState,
    /// True if there is an image for trial pulls, or the search for one continues.
    pub has_trial_image: bool,
    /// Reason why no trial begins although images for one run in the cluster; `None` if one may.
    pub unserved: Option<String>,
}

/// Last check of the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryState {
    /// No check of this declaration has ended.
    Unchecked,
    /// The registry accepts trust and credential.
    Good,
    /// The registry does not answer, for this reason.
    Unreachable(String),
    /// The registry refuses, or is not trusted, for this reason.
    Bad(String),
}

/// A node in a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutNode {
    /// Name of the Node.
    pub name: String,
    /// `containerRuntimeVersion`: one node of each class tries a declaration.
    pub class: String,
    /// True if the node is part of the control plane.
    pub is_control_plane: bool,
    /// True if the node has a ready agent.
    pub has_agent: bool,
    /// Report of its agent.
    pub report: NodeReport,
    /// Trial pull on the node.
    pub pull: TrialPull,
}

/// Report of an agent for the present Node UID and boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeReport {
    /// No report.
    Silent,
    /// A report of neither success nor failure.
    Pending,
    /// The declaration of this number is in force.
    Applied(u64),
    /// The node cannot put a declaration in force, or cannot prove it.
    Unable {
        /// Number of the declaration.
        number: u64,
        /// Reason of the condition `Applied` or `NeedsRestart`.
        reason: String,
    },
}

/// Trial pod of a node, for the number of the declaration on trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrialPull {
    /// No pod, or one that is being deleted.
    Absent,
    /// The kubelet has neither pulled nor failed.
    Running,
    /// The kubelet has neither pulled nor failed within the deadline.
    Late,
    /// The kubelet has pulled the content that the mirror serves.
    Pulled,
    /// The pull failed, for this reason.
    Failed(String),
}

/// The next step of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutDecision {
    /// Content of the Secret `N-nodes`.
    pub declaration: NodeDeclaration,
    /// Names of the nodes that need a trial pod, until the trial ends. Every other trial pod is
    /// to be deleted.
    pub pulls: BTreeSet<String>,
    /// Progress of the trial, or the reason why none runs; empty if none is needed.
    pub summary: String,
    /// True if the trial of the wanted declaration failed: [`Self::summary`] has the reason.
    pub failed: bool,
}

/// Progress of one node on trial.
enum NodeProgress {
    /// The declaration works on the node.
    Proven,
    /// The node cannot prove the declaration.
    Unable,
    /// The trial continues.
    Waiting(&'static str),
    /// The declaration does not work, for this reason.
    Failed(String),
}

/// Progress of the nodes of one runtime version.
enum ClassProgress<'a> {
    /// One node has proven the declaration, or no node is left that could.
    Settled,
    /// A node has to join the trial.
    Joining(&'a RolloutNode),
    /// The trial of a node continues.
    Waiting(&'a RolloutNode, &'static str),
}

/// Decides on the next step of a rollout.
pub fn decide(input: &RolloutInput<'_>) -> RolloutDecision {
    let wanted = numbered(input);
    let is_verified = input.stored.verified.as_ref().is_some_and(|it| it.is_like(&wanted));
    if wanted.effective.origin == Origin::None || is_verified {
        return accept(wanted);
    }
    let trial = input.stored.trial.as_ref().filter(|it| it.revision == wanted);
    let failed = input.stored.failed.as_ref().filter(|it| it.number == wanted.number);
    match (trial, failed) {
        (Some(trial), Some(failed)) if !is_retried(failed, &input.registry) => {
            reject(input, trial.clone(), failed.clone())
        }
        (Some(trial), None) => proceed(input, trial.clone()),
        _ => proceed(input, NodeTrial { revision: wanted, nodes: BTreeSet::new() }),
    }
}

/// Returns the wanted declaration with its number.
fn numbered(input: &RolloutInput<'_>) -> NodeRevision {
    let stored = input.stored;
    let last = stored.last_number();
    let reported = if input.reported <= PLAUSIBLE { input.reported } else { 0 };
    let mut wanted = NodeRevision {
        number: last.max(reported).saturating_add(1),
        effective: input.wanted.clone(),
        fallback: input.fallback,
    };
    let trial = stored.trial.as_ref().map(|it| &it.revision);
    let mut known = trial.into_iter().chain(&stored.verified);
    // The verified declaration has a lower number once another one was on trial.
    if known.any(|it| it.number == last && it.is_like(&wanted)) {
        wanted.number = last;
    }
    wanted
}

/// Returns the decision that all nodes get `revision`.
fn accept(revision: NodeRevision) -> RolloutDecision {
    RolloutDecision {
        declaration: NodeDeclaration { verified: Some(revision), ..NodeDeclaration::default() },
        pulls: BTreeSet::new(),
        summary: String::new(),
        failed: false,
    }
}

/// Returns the decision that no node gets the declaration of `trial`.
fn reject(input: &RolloutInput<'_>, mut trial: NodeTrial, failed: FailedTrial) -> RolloutDecision {
    // Without a verified declaration, nodes have to remove the one that failed.
    if input.stored.verified.is_some() {
        trial.nodes.clear();
    }
    RolloutDecision {
        summary: failed.reason.clone(),
        declaration: NodeDeclaration {
            verified: input.stored.verified.clone(),
            trial: Some(trial),
            failed: Some(failed),
            restore: false,
        },
        pulls: BTreeSet::new(),
        failed: true,
    }
}

/// Returns the decision that the trial continues. A failure of it counts no longer.
fn keep(input: &RolloutInput<'_>, trial: NodeTrial, summary: String) -> RolloutDecision {
    let number = trial.revision.number;
    RolloutDecision {
        pulls: pulls(input, &trial),
        declaration: NodeDeclaration {
            verified: input.stored.verified.clone(),
            trial: Some(trial),
            failed: input.stored.failed.clone().filter(|it| it.number != number),
            restore: false,
        },
        summary,
        failed: false,
    }
}

/// Returns true if a trial that failed because of the registry may succeed now.
fn is_retried(failed: &FailedTrial, registry: &RegistryState) -> bool {
    let by_registry = [UNREACHABLE, BAD].iter().any(|it| failed.reason.starts_with(it));
    by_registry && *registry == RegistryState::Good
}

/// Decides on the next step of a trial that has not failed.
fn proceed(input: &RolloutInput<'_>, mut trial: NodeTrial) -> RolloutDecision {
    if !input.nodes.iter().any(|it| it.has_agent) {
        return keep(input, trial, "waits for a node with a ready agent".to_owned());
    }
    match &input.registry {
        RegistryState::Unreachable(reason) if trial.nodes.is_empty() => {
            return keep(input, trial, format!("waits for the registry: {reason}"));
        }
        _ if trial.nodes.is_empty() && input.unserved.is_some() => {
            let reason = input.unserved.as_deref().unwrap_or_default();
            return keep(input, trial, format!("waits for an image: {reason}"));
        }
        // Without an image the check of the registry is the trial.
        RegistryState::Bad(reason) if !input.has_trial_image => {
            let reason = format!("{BAD}{reason}");
            let number = trial.revision.number;
            return reject(input, trial, FailedTrial { number, reason });
        }
        _ => {}
    }
    if let Some(failed) = failure(input, &trial) {
        return reject(input, trial, failed);
    }
    let classes = classes(input, &trial);
    if classes.iter().all(|it| matches!(it, ClassProgress::Settled)) {
        return accept(trial.revision);
    }
    let summary = summary(&classes);
    for class in classes {
        if let ClassProgress::Joining(node) = class {
            trial.nodes.insert(node.name.clone());
        }
    }
    keep(input, trial, summary)
}

/// Returns the failure of the first node on trial that has one.
fn failure(input: &RolloutInput<'_>, trial: &NodeTrial) -> Option<FailedTrial> {
    let mut members: Vec<_> = members(input, trial).collect();
    members.sort_by_key(|it| &it.name);
    let (node, message) =
        members.into_iter().find_map(|node| match progress(input, trial, node) {
            NodeProgress::Failed(message) => Some((&node.name, message)),
            _ => None,
        })?;
    let prefix = match input.registry {
        RegistryState::Unreachable(_) => UNREACHABLE,
        RegistryState::Bad(_) => BAD,
        RegistryState::Unchecked | RegistryState::Good => "",
    };
    let reason = format!("{prefix}{node}: {message}");
    Some(FailedTrial { number: trial.revision.number, reason })
}

/// Returns the nodes on trial that exist.
fn members<'a>(
    input: &RolloutInput<'a>,
    trial: &NodeTrial,
) -> impl Iterator<Item = &'a RolloutNode> {
    input.nodes.iter().filter(|it| trial.nodes.contains(&it.name))
}

/// Returns true if the declaration on trial is in force on `node`.
fn has_applied(node: &RolloutNode, trial: &NodeTrial) -> bool {
    node.report == NodeReport::Applied(trial.revision.number)
}

/// Returns the nodes whose kubelet has to pull.
fn pulls(input: &RolloutInput<'_>, trial: &NodeTrial) -> BTreeSet<String> {
    let pulling =
        members(input, trial).filter(|it| input.has_trial_image && has_applied(it, trial));
    pulling.map(|it| it.name.clone()).collect()
}

/// Returns the progress of `node`, which is on trial.
fn progress(input: &RolloutInput<'_>, trial: &NodeTrial, node: &RolloutNode) -> NodeProgress {
    if !has_applied(node, trial) {
        return match &node.report {
            NodeReport::Unable { number, .. } if *number == trial.revision.number => {
                NodeProgress::Unable
            }
            _ if !node.has_agent => NodeProgress::Unable,
            _ => NodeProgress::Waiting("applies the declaration"),
        };
    }
    if !input.has_trial_image {
        return match input.registry {
            RegistryState::Good => NodeProgress::Proven,
            _ => NodeProgress::Waiting("waits for the check of the registry"),
        };
    }
    match &node.pull {
        TrialPull::Pulled => NodeProgress::Proven,
        TrialPull::Failed(reason) => NodeProgress::Failed(reason.clone()),
        TrialPull::Late if node.has_agent => {
            NodeProgress::Failed("no answer of the kubelet to the trial pod".to_owned())
        }
        // The node is gone, which is not the fault of the declaration.
        TrialPull::Late => NodeProgress::Unable,
        TrialPull::Absent | TrialPull::Running => NodeProgress::Waiting("pulls the trial image"),
    }
}

/// Returns the progress of each class that has a node with a ready agent, or that pulls.
fn classes<'a>(input: &RolloutInput<'a>, trial: &NodeTrial) -> Vec<ClassProgress<'a>> {
    let mut classes: BTreeMap<&str, Vec<&RolloutNode>> = BTreeMap::new();
    for node in input.nodes {
        let is_pulling = trial.nodes.contains(&node.name) && has_applied(node, trial);
        if node.has_agent || is_pulling {
            classes.entry(&node.class).or_default().push(node);
        }
    }
    classes.values().map(|nodes| class_progress(input, trial, nodes)).collect()
}

/// Returns the progress of the class of `nodes`.
fn class_progress<'a>(
    input: &RolloutInput<'a>,
    trial: &NodeTrial,
    nodes: &[&'a RolloutNode],
) -> ClassProgress<'a> {
    let mut waiting = None;
    for node in nodes.iter().filter(|it| trial.nodes.contains(&it.name)) {
        match progress(input, trial, node) {
            NodeProgress::Proven => return ClassProgress::Settled,
            NodeProgress::Waiting(step) => waiting = waiting.or(Some((*node, step))),
            NodeProgress::Unable | NodeProgress::Failed(_) => {}
        }
    }
    if let Some((node, step)) = waiting {
        return ClassProgress::Waiting(node, step);
    }
    let others = nodes.iter().filter(|it| it.has_agent && !trial.nodes.contains(&it.name));
    let next = others.min_by_key(|it| (it.is_control_plane, &it.name));
    next.map_or(ClassProgress::Settled, |node| ClassProgress::Joining(node))
}

/// Returns the progress of the classes that are not settled, in words.
fn summary(classes: &[ClassProgress<'_>]) -> String {
    let steps = classes.iter().filter_map(|class| match class {
        ClassProgress::Settled => None,
        ClassProgress::Joining(node) => Some((node, "gets the declaration")),
        ClassProgress::Waiting(node, step) => Some((node, *step)),
    });
    let mut steps: Vec<_> =
        steps.map(|(node, step)| format!("{} ({}) {step}", node.name, node.class)).collect();
    let more = steps.len().saturating_sub(NAMED);
    if more > 0 {
        steps.truncate(NAMED);
        steps.push(format!("{more} more"));
    }
    steps.join("; ")
}

#[cfg(test)]
mod tests;
