//! Workload clusters, from all sources.
//!
//! - [`cluster_api`], [`cluster_profile`] and [`labelled`] read objects of the management cluster as
//!   [`found::FoundCluster`], which names its Secret.
//! - [`selector`] parses label selectors.
//! - [`standing`] decides between entries for one cluster.

pub mod cluster_api;
pub mod cluster_profile;
pub mod found;
pub mod labelled;
mod metadata;
pub mod selector;
mod settings;
pub mod standing;

pub(super) use self::metadata::is_name;

use std::{collections::BTreeMap, fmt, sync::Arc};

use super::{kubeconfig::RemoteAccess, pull::DECLARATION};
use crate::control::effective::SecretData;

/// Workload clusters by their keys. An entry that did not change is shared with the last inventory.
pub type Inventory = BTreeMap<ClusterKey, Arc<InventoryEntry>>;

/// Source of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClusterSource {
    /// `Cluster` of Cluster API, with its Secret `NAME-kubeconfig`.
    ClusterApi,
    /// `ClusterProfile` of the cluster inventory.
    ClusterProfile,
    /// Labelled Secret with a kubeconfig.
    Kubeconfig,
    /// Labelled Secret with the declaration of a cluster that pulls.
    Pull,
}

/// Identity of an entry on the management cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterKey {
    /// Namespace of the object.
    pub namespace: String,
    /// Source.
    pub source: ClusterSource,
    /// Name of the object.
    pub name: String,
}

impl fmt::Display for ClusterKey {
    /// Writes namespace and name of the `WorkloadCluster` object, as `NAMESPACE/NAME`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.object_name())
    }
}

impl ClusterKey {
    /// Returns the name of the `WorkloadCluster` object, in [`Self::namespace`].
    pub fn object_name(&self) -> String {
        match self.source {
            ClusterSource::ClusterApi => self.name.clone(),
            ClusterSource::ClusterProfile => format!("{}{PROFILE}", self.name),
            ClusterSource::Kubeconfig => format!("{}{KUBECONFIG}", self.name),
            ClusterSource::Pull => {
                format!("{}{PULLED}", self.name.strip_suffix(DECLARATION).unwrap_or(&self.name))
            }
        }
    }

    /// Returns the source of the entry whose `WorkloadCluster` object is `name`, by its end.
    pub fn source_of(name: &str) -> ClusterSource {
        match name {
            _ if name.ends_with(PROFILE) => ClusterSource::ClusterProfile,
            _ if name.ends_with(KUBECONFIG) => ClusterSource::Kubeconfig,
            _ if name.ends_with(PULLED) => ClusterSource::Pull,
            _ => ClusterSource::ClusterApi,
        }
    }
}

/// Suffix of the name of the `WorkloadCluster` for a `ClusterProfile`.
const PROFILE: &str = ".clusterprofile";
/// Suffix of the name of the `WorkloadCluster` for a labelled Secret.
const KUBECONFIG: &str = ".kubeconfig";
/// Suffix of the name of the `WorkloadCluster` for a cluster that pulls.
const PULLED: &str = ".pull";

/// Entry of the inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InventoryEntry {
    /// Object of the management cluster.
    pub origin: OriginObject,
    /// Access to the cluster.
    pub access: EntryAccess,
    /// Settings of an administrator.
    pub settings: ClusterSettings,
    /// Secret `registry-info` beside the object, shared by all clusters of the namespace; `None` if
    /// the declaration of the management cluster is valid for this one.
    pub registry_info: Option<Arc<SecretData>>,
    /// Labels of the object, by which waves select.
    pub labels: BTreeMap<String, String>,
}

/// Object of the management cluster that stands for a workload cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginObject {
    /// API version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// UID.
    pub uid: String,
}

/// Access to the cluster of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryAccess {
    /// No access yet, for this reason; not an error.
    Waiting(String),
    /// Access that is not used, for this reason.
    Refused(String),
    /// Access.
    Usable {
        /// Server and credential.
        access: RemoteAccess,
        /// UID and version of the Secret, and for a `ClusterProfile` a hash of its server; changes
        /// with the access.
        version: String,
    },
    /// No access: the cluster pulls its declaration.
    Pulls,
}

impl EntryAccess {
    /// Returns true if the cluster can receive a declaration.
    pub const fn is_usable(&self) -> bool {
        matches!(self, Self::Usable { .. } | Self::Pulls)
    }
}

/// Settings of a workload cluster, by annotations of its object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterSettings {
    /// True if an administrator paused the fleet controller for the cluster.
    pub is_paused: bool,
    /// Address of the API server for agents, `HOST` or `HOST:PORT`; `None` for the Service
    /// `kubernetes`.
    pub api_server: Option<String>,
    /// Value `policy` of the chart; `None` for that of the bundle.
    pub policy: Option<String>,
    /// Number of the declaration to go back to; `None` for the newest.
    pub pinned_revision: Option<u64>,
    /// True if image-swap is to be removed from the cluster.
    pub is_removed: bool,
}

#[cfg(test)]
mod tests;
