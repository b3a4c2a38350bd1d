//! The state that the reconcile loop passes to the controller of nodes.

use std::time::Duration;

use image_swap_core::{
    control::{effective::Effective, rollout::RegistryState, webhooks::Anchor},
    mirror::Fallback,
    status::{RegistryOutcome, RegistryStatus},
};

/// Settings of the controller of nodes.
#[derive(Clone, Debug)]
pub struct AgentSettings {
    /// Namespace of the agents.
    pub namespace: String,
    /// Namespace of trial pods.
    pub trial_namespace: String,
    /// Requests of nodes to the public registry after the mirrors.
    pub fallback: Fallback,
    /// True if agents receive the declared credential.
    pub credentials: bool,
    /// Image of trial pods; `None` if the controller chooses one that runs in the cluster.
    pub trial_image: Option<String>,
    /// Time after which a node without a report counts as one without an agent.
    pub deadline: Duration,
    /// True if the administrator registers new nodes with the startup taint.
    pub startup_taint: bool,
}

/// An instruction for the controller of nodes. It holds the password: it must not be printed.
#[derive(Default, PartialEq, Eq)]
pub(crate) enum NodeOrders {
    /// Leave the nodes as they are: no declaration was read yet, or the release is removed.
    #[default]
    Unknown,
    /// The declaration has to reach every node.
    Present {
        /// Declaration in force, with its credential.
        effective: Effective,
        /// Owner of the Secret.
        owner: Anchor,
        /// Last check of the declared registry with its present credential; `None` before the
        /// first.
        registry: Option<RegistryStatus>,
    },
}

/// Returns the state of the registry by its last check.
pub(super) fn registry_state(check: Option<&RegistryStatus>) -> RegistryState {
    let Some(check) = check else { return RegistryState::Unchecked };
    let RegistryStatus { domain, outcome, detail, .. } = check;
    let why = || format!("the registry {domain} is {outcome}: {detail}");
    match outcome {
        RegistryOutcome::Ok | RegistryOutcome::Unverified => RegistryState::Good,
        RegistryOutcome::Unreachable | RegistryOutcome::Unresolved => {
            RegistryState::Unreachable(why())
        }
        RegistryOutcome::Untrusted
        | RegistryOutcome::Expired
        | RegistryOutcome::Unauthorized
        | RegistryOutcome::Unexpected => RegistryState::Bad(why()),
    }
}
