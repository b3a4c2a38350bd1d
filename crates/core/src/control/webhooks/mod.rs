//! The `MutatingWebhookConfiguration`: its desired content, and its repair.

mod desired;
mod merge;
mod scope;

pub use self::desired::{DesiredWebhooks, WebhookEntry, desired};
pub use self::merge::{earned, plan};
pub use self::scope::NamespaceScope;

/// Namespaces whose pods start even without a replica. Without these pods no other pod gets a
/// network or a volume.
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

/// Settings on which the webhook configuration depends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Name of the configuration.
    pub name: String,
    /// Name of the release: the value of [`PROBE`](crate::labels::PROBE).
    pub release: String,
    /// The `ClusterRole` that owns all objects created at run time.
    pub owner: Anchor,
    /// Service that the API server calls.
    pub service: Service,
    /// Authorities of the Service's certificate, as PEM.
    pub ca_bundle: String,
    /// Policy for ordinary pods that no replica could review.
    pub policy: super::policy::FailurePolicy,
    /// Timeout of a review, in seconds.
    pub timeout_seconds: u8,
    /// Namespaces whose pods are admitted without a review if no replica is reached.
    pub system_namespaces: Vec<String>,
    /// True if only namespaces labelled `enabled` are selected.
    pub opt_in: bool,
    /// Label by which namespaces opt out (`disabled`) or in (`enabled`).
    pub namespace_label: String,
    /// Namespaces whose new machine templates get the bootstrap script; empty registers nothing
    /// for templates.
    pub template_namespaces: Vec<String>,
}

/// The cluster-scoped owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Name of the `ClusterRole`.
    pub name: String,
    /// UID of the `ClusterRole`.
    pub uid: String,
}

impl Anchor {
    /// Returns the `ownerReferences` entry.
    pub fn reference(&self) -> serde_json::Value {
        serde_json::json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "name": self.name,
            "uid": self.uid,
        })
    }
}

/// The Service that the API server calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Namespace of the Service.
    pub namespace: String,
    /// Name of the Service.
    pub name: String,
    /// Port of the Service, which may differ from the container's.
    pub port: u16,
}

#[cfg(test)]
mod tests;
