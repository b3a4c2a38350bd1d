//! The custom resource `WorkloadCluster`: one object for each workload cluster.
//!
//! The fleet controller creates the object beside the one that stands for the cluster, and writes
//! all of it. `charts/image-swap/templates/fleet/crd.yaml` has the schema. Of the texts that
//! a workload cluster sent, the status repeats only plain names of field managers.

mod derive;
mod event;
mod facts;
mod message;
mod verdict;

use serde::{Deserialize, Serialize};

pub use self::{
    derive::{is_uid, status_of},
    event::{ClusterEvent, RECOVERED},
    facts::{
        AccessState, ApplyOutcome, ClusterContact, ClusterFacts, HeartbeatFacts, RemovalProgress,
        WantedDeclaration,
    },
};
use super::node_mirror::{NodeCondition, TRUE};

/// API group of the resource.
pub const GROUP: &str = "image-swap.io";
/// Version of the resource.
pub const VERSION: &str = "v1alpha1";
/// Kind of the resource.
pub const KIND: &str = "WorkloadCluster";
/// Plural name of the resource.
pub const PLURAL: &str = "workloadclusters";

/// Identity of a workload cluster on the management cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadClusterSpec {
    /// Object in the same namespace that stands for the cluster.
    pub source: ClusterObject,
}

/// Object that stands for a workload cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterObject {
    /// API version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
}

/// Status of a workload cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadClusterStatus {
    /// UID of the namespace `kube-system` of the cluster; empty before the first contact.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster_uid: String,
    /// Number of the declaration that the cluster is to have; `None` without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wanted_revision: Option<u64>,
    /// Number of the declaration that is stored in the cluster; `None` before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied_revision: Option<u64>,
    /// Receipt of the last heartbeat, in RFC 3339; `None` while heartbeats arrive, so that none of
    /// them is a write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_heartbeat_time: Option<String>,
    /// Nodes of the cluster; `None` if they are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodesInCluster>,
    /// Nodes as a column: `APPLIED/TOTAL`; empty if they are not known.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node_summary: String,
    /// Handling of pods: `Fail`, `Ignore`, `audit` or `none`; empty before the first heartbeat.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub webhook: String,
    /// Number of running pods with an image that no mirror serves; `None` if it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods_not_from_mirror: Option<u32>,
    /// Present error; `None` without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Time since which there has been an error, in RFC 3339; `None` without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error_time: Option<String>,
    /// Conditions, sorted by type.
    pub conditions: Vec<NodeCondition>,
}

/// Numbers of nodes of a workload cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodesInCluster {
    /// Number of nodes.
    pub total: u32,
    /// Number of nodes on which the declaration is in force.
    pub applied: u32,
}

impl WorkloadClusterStatus {
    /// Returns the condition of the type `kind`; `None` if it is absent.
    pub fn condition(&self, kind: &str) -> Option<&NodeCondition> {
        self.conditions.iter().find(|it| it.kind == kind)
    }

    /// Returns the state of the cluster, for counts: a constant of [`state`], or the reason of the
    /// condition [`APPLIED`].
    pub fn state(&self) -> &str {
        match (self.condition(APPLIED), self.condition(HEALTHY)) {
            (Some(applied), Some(healthy))
                if applied.reason == reason::APPLYING
                    && healthy.reason == reason::HEARTBEAT_STALE =>
            {
                state::UNHEALTHY
            }
            (Some(applied), _) if applied.status != TRUE => &applied.reason,
            (Some(_), Some(healthy)) if healthy.status == TRUE => state::IN_FORCE,
            (Some(_), Some(healthy))
                if [reason::UPDATING, reason::NO_HEARTBEAT].contains(&&*healthy.reason) =>
            {
                state::UPDATING
            }
            (Some(_), _) => state::UNHEALTHY,
            (None, _) => state::PENDING,
        }
    }
}

/// Condition: bundle and wanted declaration are stored in the cluster.
pub const APPLIED: &str = "Applied";
/// Condition: another writer holds fields or objects that image-swap applies.
pub const CONFLICT: &str = "Conflict";
/// Condition: heartbeats arrive, and the cluster reports no problem.
pub const HEALTHY: &str = "Healthy";
/// Condition: the API server of the cluster answers.
pub const REACHABLE: &str = "Reachable";

/// States of clusters in counts. The other states are reasons of the condition [`APPLIED`].
pub mod state {
    use super::reason;

    /// The wanted declaration is in force, and the cluster reports no problem.
    pub const IN_FORCE: &str = "InForce";
    /// The wanted declaration is stored, and the cluster has not put it in force yet.
    pub const UPDATING: &str = "Updating";
    /// The wanted declaration is stored, and the cluster has a problem.
    pub const UNHEALTHY: &str = "Unhealthy";
    /// The fleet controller has not judged the cluster yet.
    pub const PENDING: &str = "Pending";

    /// All states.
    pub const ALL: [&str; 15] = [
        IN_FORCE,
        UPDATING,
        UNHEALTHY,
        PENDING,
        reason::APPLYING,
        reason::WAITING,
        reason::WAITING_FOR_WAVE,
        reason::PAUSED,
        reason::UNREACHABLE,
        reason::REFUSED,
        reason::DUPLICATE,
        reason::CONFLICT,
        reason::FAILED,
        reason::ORPHANED,
        reason::REMOVED,
    ];
}

/// Reasons of conditions.
pub mod reason {
    /// Applied: bundle and wanted declaration are stored.
    pub const IN_FORCE: &str = "InForce";
    /// Applied: the fleet controller applies bundle and declaration.
    pub const APPLYING: &str = "Applying";
    /// Applied: the cluster or the declaration is not ready yet; no error.
    pub const WAITING: &str = "Waiting";
    /// Applied: an earlier wave has not ended.
    pub const WAITING_FOR_WAVE: &str = "WaitingForWave";
    /// Applied: an administrator paused the cluster.
    pub const PAUSED: &str = "Paused";
    /// Applied, Healthy, Reachable: the API server does not answer.
    pub const UNREACHABLE: &str = "Unreachable";
    /// Applied: the access to the cluster is not used.
    pub const REFUSED: &str = "Refused";
    /// Applied: another entry is the same cluster.
    pub const DUPLICATE: &str = "Duplicate";
    /// Applied, Conflict: another writer holds fields or objects.
    pub const CONFLICT: &str = "Conflict";
    /// Applied: a request failed.
    pub const FAILED: &str = "Failed";
    /// Applied: the declaration of the management cluster was deleted.
    pub const ORPHANED: &str = "Orphaned";
    /// Applied: an administrator removes image-swap from the cluster.
    pub const REMOVED: &str = "Removed";
    /// Conflict: no other writer holds fields or objects.
    pub const NO_CONFLICT: &str = "NoConflict";
    /// Conflict: nothing has been applied yet.
    pub const NOT_COMPARED: &str = "NotCompared";
    /// Healthy: no problem is known.
    pub const HEALTHY: &str = "Healthy";
    /// Healthy: the cluster has not put the declaration in force on all nodes yet.
    pub const UPDATING: &str = "Updating";
    /// Healthy: the Secret `registry-info` beside the cluster is invalid.
    pub const DECLARATION_REFUSED: &str = "DeclarationRefused";
    /// Healthy: no heartbeat has arrived yet.
    pub const NO_HEARTBEAT: &str = "NoHeartbeat";
    /// Healthy: heartbeats arrive no longer, or the first one is overdue.
    pub const HEARTBEAT_STALE: &str = "HeartbeatStale";
    /// Healthy: the heartbeat has no summary that this version can read.
    pub const SUMMARY_INVALID: &str = "SummaryInvalid";
    /// Healthy: the cluster reports problems.
    pub const PROBLEMS: &str = "Problems";
    /// Healthy: another writer changes objects again and again.
    pub const DRIFT: &str = "Drift";
    /// Reachable: the API server answers.
    pub const REACHED: &str = "Reached";
    /// Conflict, Healthy, Reachable: the fleet controller does not connect to the cluster.
    pub const NOT_CONNECTED: &str = "NotConnected";
}

#[cfg(test)]
mod tests;
