//! The order in which a workload cluster receives objects.

use serde_json::Value;

use crate::labels::{ADMISSION, APP_COMPONENT};

/// Phase of an object. All objects of a phase are written before the next phase begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BundlePhase {
    /// Namespaces, custom resources, Secrets, permissions and policies.
    Base = 1,
    /// Agents and controller, which configure the nodes.
    Nodes = 2,
    /// Replicas of the webhook.
    Webhook = 3,
}

impl BundlePhase {
    /// All phases, in order.
    pub const ALL: [Self; 3] = [Self::Base, Self::Nodes, Self::Webhook];

    /// Returns the objects that wait, in words, if `reached` is the last phase of which all objects
    /// are in force; empty if none wait.
    pub const fn waiting(reached: Option<Self>) -> &'static str {
        match reached {
            None => "agents, controller and webhook wait",
            Some(Self::Base) => "the webhook waits",
            Some(Self::Nodes | Self::Webhook) => "",
        }
    }

    /// Returns the phase of `object`.
    pub(super) fn of(object: &Value) -> Self {
        let is_base = matches!(
            object["kind"].as_str().unwrap_or_default(),
            "Namespace"
                | "CustomResourceDefinition"
                | "PriorityClass"
                | "ServiceAccount"
                | "Secret"
                | "ClusterRole"
                | "ClusterRoleBinding"
                | "Role"
                | "RoleBinding"
                | "NetworkPolicy"
                | "ResourceQuota"
                | "SecurityContextConstraints"
                | "ValidatingAdmissionPolicy"
                | "ValidatingAdmissionPolicyBinding"
        );
        if is_base {
            Self::Base
        } else if object["metadata"]["labels"][APP_COMPONENT] == ADMISSION {
            Self::Webhook
        } else {
            Self::Nodes
        }
    }
}

/// Returns the rank of objects of `kind` within their phase: an object is written before those
/// that need it.
pub(super) fn rank(kind: &str) -> u8 {
    match kind {
        "Namespace" => 0,
        "CustomResourceDefinition" => 1,
        "PriorityClass" | "ServiceAccount" | "ResourceQuota" | "SecurityContextConstraints" => 2,
        "ClusterRole" | "Role" => 3,
        "ClusterRoleBinding" | "RoleBinding" => 4,
        "ValidatingAdmissionPolicy" => 5,
        "ValidatingAdmissionPolicyBinding" => 6,
        "Secret" => 7,
        _ => 8,
    }
}
