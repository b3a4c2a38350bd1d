//! Partial deserialisation of Nodes, `NodeMirror`s, Leases, and pods of agents, trials and
//! restarts.
//!
//! One type for all of them, since each type would be a watch of its own in the program. An
//! object is read into a row of [`super::observed`] at once, and is not kept.

use image_swap_core::status::{NodeCondition, NodeMirrorStatus};
use kube::Resource;
use serde::Deserialize;
use serde_json::Value;

use crate::partial_meta::{PartialMetadata, dynamic_resource};

/// Longest name of an object, in bytes.
const NAME_MAX: usize = 253;
/// Entries of the longest list in an object.
const LIST_MAX: usize = 1000;

/// An object about a node: a Node, a `NodeMirror`, a Lease or a pod. It has the fields that are read.
/// All others are skipped.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct NodeObject {
    pub(super) metadata: PartialMetadata,
    #[serde(default)]
    pub(super) spec: NodeObjectSpec,
    #[serde(default)]
    pub(super) status: NodeObjectStatus,
}

/// The spec of a Node, of a pod, of a `NodeMirror` or of a Lease.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct NodeObjectSpec {
    /// True if the scheduler may not use a Node.
    pub(super) unschedulable: bool,
    /// Taints of a Node.
    pub(super) taints: Vec<Value>,
    /// Node of a pod; `None` before it is scheduled.
    pub(super) node_name: Option<String>,
    /// `nodeUid` of a `NodeMirror`.
    pub(super) node_uid: String,
    /// `containerRuntimeVersion` of a `NodeMirror`.
    pub(super) container_runtime_version: String,
    /// Node of a Lease; `None` without a holder.
    pub(super) holder_identity: Option<String>,
    /// Start of a Lease, in RFC 3339; `None` without a holder.
    pub(super) acquire_time: Option<String>,
    /// Time after which a Lease expires, in seconds; `None` without a holder.
    pub(super) lease_duration_seconds: Option<i64>,
}

/// The status of a Node, a pod or a `NodeMirror`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct NodeObjectStatus {
    /// Facts of a Node.
    pub(super) node_info: NodeInfo,
    /// Phase of a pod.
    pub(super) phase: String,
    /// Reason why a kubelet rejected or ended a pod.
    pub(super) reason: String,
    /// Message for [`Self::reason`].
    pub(super) message: String,
    /// Containers of a pod.
    pub(super) container_statuses: Vec<PulledContainer>,
    pub(super) conditions: Vec<ObjectCondition>,
    node_uid: String,
    #[serde(rename = "bootID")]
    boot_id: String,
    wanted_revision: Option<u64>,
    applied_revision: Option<u64>,
    command: Option<String>,
}

/// `status.nodeInfo` of a Node.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct NodeInfo {
    #[serde(rename = "bootID")]
    pub(super) boot_id: String,
    pub(super) container_runtime_version: String,
    pub(super) kubelet_version: String,
    pub(super) os_image: String,
    pub(super) operating_system: String,
}

/// A condition of any kind of object.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ObjectCondition {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) status: String,
    reason: Option<String>,
    message: Option<String>,
    last_transition_time: Option<String>,
}

/// The status of a container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PulledContainer {
    #[serde(rename = "imageID")]
    pub(super) image_id: String,
    pub(super) state: PulledContainerState,
}

/// The state of a container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PulledContainerState {
    pub(super) waiting: Option<PulledContainerReason>,
    pub(super) running: Option<PulledContainerReason>,
    pub(super) terminated: Option<PulledContainerReason>,
}

/// The reason of a container's state.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PulledContainerReason {
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
}

impl NodeObjectStatus {
    /// Returns the status of a `NodeMirror`, apart from the rules that are only for people.
    pub(super) fn mirror(&self) -> NodeMirrorStatus {
        let condition = |it: &ObjectCondition| NodeCondition {
            kind: it.kind.clone(),
            status: it.status.clone(),
            reason: it.reason.clone().unwrap_or_default(),
            message: it.message.clone().unwrap_or_default(),
            last_transition_time: it.last_transition_time.clone().unwrap_or_default(),
        };
        NodeMirrorStatus {
            node_uid: self.node_uid.clone(),
            boot_id: self.boot_id.clone(),
            wanted_revision: self.wanted_revision,
            applied_revision: self.applied_revision,
            command: self.command.clone(),
            inexpressible: Vec::new(),
            conditions: self.conditions.iter().map(condition).collect(),
        }
    }
}

impl NodeObject {
    /// Returns true if a list or a name in the object is longer than one of Kubernetes.
    pub(super) fn is_excessive(&self) -> bool {
        let Self { spec, status, .. } = self;
        let lists = [spec.taints.len(), status.container_statuses.len(), status.conditions.len()];
        self.name().len() > NAME_MAX || lists.into_iter().any(|length| length > LIST_MAX)
    }

    pub(super) fn name(&self) -> &str {
        self.meta().name.as_deref().unwrap_or_default()
    }

    pub(super) fn uid(&self) -> &str {
        self.meta().uid.as_deref().unwrap_or_default()
    }

    pub(super) fn version(&self) -> &str {
        self.meta().resource_version.as_deref().unwrap_or_default()
    }

    /// Returns the resource version as a number; 0 if it is none.
    pub(super) fn version_number(&self) -> u64 {
        self.version().parse().unwrap_or(0)
    }

    pub(super) fn label(&self, key: &str) -> Option<&str> {
        self.meta().labels.as_ref()?.get(key).map(String::as_str)
    }
}

impl Resource for NodeObject {
    dynamic_resource!();
}
