//! The rollout of a declaration to nodes: first to one node of each runtime version.

use std::collections::BTreeSet;

use crate::{control::effective::Effective, mirror::Fallback, status::NodeDeclaration};

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
    /// Nodes with support of agents.
    pub nodes: &'a [RolloutNode],
    /// Last check of the registry with the declaration `wanted`.
    pub registry: RegistryState,
    /// True if there is an image for trial pulls.
    pub has_trial_image: bool,
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
    /// The registry refuses, or its trust fails, for this reason.
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
        /// Reason of the condition `Applied`.
        reason: String,
    },
}

/// Trial pod of a node, for the declaration on trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrialPull {
    /// No pod, or one that is being deleted.
    Absent,
    /// The kubelet has not pulled yet.
    Running,
    /// The kubelet has neither pulled nor failed within the deadline.
    Late,
    /// The kubelet has pulled what the mirror serves.
    Pulled,
    /// The pull failed, for this reason.
    Failed(String),
}

/// The next step of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutDecision {
    /// Content of the Secret `N-nodes`.
    pub declaration: NodeDeclaration,
    /// Names of the nodes that need a trial pod. Every other trial pod is to be deleted.
    pub pulls: BTreeSet<String>,
    /// Progress of the trial, or the reason why none runs; empty if none is needed.
    pub summary: String,
    /// True if the trial of the wanted declaration failed: [`Self::summary`] has the reason.
    pub failed: bool,
}

/// Decides on the next step of a rollout.
pub fn decide(input: &RolloutInput<'_>) -> RolloutDecision {
    RolloutDecision {
        declaration: input.stored.clone(),
        pulls: BTreeSet::new(),
        summary: String::new(),
        failed: false,
    }
}
