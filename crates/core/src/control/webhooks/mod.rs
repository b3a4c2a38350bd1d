//! The `MutatingWebhookConfiguration`: what is to be registered, and what of it
//! has to be repaired.

mod desired;
mod merge;
mod scope;

pub use self::desired::{DesiredWebhooks, WebhookEntry, desired};
pub use self::merge::{earned, plan};
pub use self::scope::NamespaceScope;

/// Namespaces whose pods start whatever becomes of us: without them no other
/// pod gets a network or a volume.
pub const SYSTEM_NAMESPACES: [&str; 26] = [
    "kube-system",
    "antrea",
    "calico-apiserver",
    "calico-system",
    "ceph-csi-cephfs",
    "ceph-csi-rbd",
    "cilium",
    "cilium-system",
    "democratic-csi",
    "kube-flannel",
    "kube-ovn",
    "kube-router",
    "longhorn-system",
    "multus",
    "nsx-system",
    "openebs",
    "openshift-cluster-csi-drivers",
    "openshift-multus",
    "openshift-ovn-kubernetes",
    "openshift-sdn",
    "piraeus-datastore",
    "portworx",
    "rook-ceph",
    "tigera-operator",
    "trident",
    "vmware-system-csi",
];

/// Everything the configuration depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The configuration's name.
    pub name: String,
    /// The release: the value of [`PROBE`](crate::labels::PROBE).
    pub release: String,
    /// The uid of the `ClusterRole` that owns everything made at run time.
    pub owner: Anchor,
    /// Where the API server asks.
    pub service: Service,
    /// The authorities that sign for the service, PEM.
    pub ca_bundle: String,
    /// What becomes of ordinary pods that nobody could review.
    pub policy: super::policy::FailurePolicy,
    /// Seconds that the API server waits for an answer.
    pub timeout_seconds: u8,
    /// Namespaces whose pods are let through unreviewed, if need be.
    pub system_namespaces: Vec<String>,
    /// Whether only namespaces labelled `enabled` take part.
    pub opt_in: bool,
    /// The label by which namespaces leave (`disabled`) or join (`enabled`).
    pub namespace_label: String,
}

/// The cluster-scoped owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The `ClusterRole`'s name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

impl Anchor {
    /// The `ownerReferences` entry.
    pub fn reference(&self) -> serde_json::Value {
        serde_json::json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "name": self.name,
            "uid": self.uid,
        })
    }
}

/// Where the API server asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its port, not the container's.
    pub port: u16,
}

#[cfg(test)]
mod tests;
