//! Changes that watches report.

use image_swap_core::fleet::inventory::{ClusterKey, ClusterSource, found::FoundCluster};

/// Namespace and name of a Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SecretKey {
    pub(super) namespace: String,
    pub(super) name: String,
}

/// Namespace and source whose objects are listed together.
pub type ListedSource = (String, ClusterSource);

/// Change that a watch reports.
#[derive(Debug)]
pub(super) enum SourceEvent {
    /// All objects of a source in a namespace.
    Listed { namespace: String, source: ClusterSource, clusters: Vec<FoundCluster> },
    /// A new or changed object.
    Changed(Box<FoundCluster>),
    /// An object that no longer exists, or is no longer selected.
    Gone(ClusterKey),
    /// The API server refuses to list the objects of a source.
    Unlisted { namespace: String, source: ClusterSource },
    /// A list of Secrets begins: each follows as [`Self::Secret`].
    SecretsListing { namespace: String },
    /// A list of Secrets ends.
    SecretsListed { namespace: String },
    /// Version of a Secret; `None` if it was deleted.
    Secret { secret: SecretKey, version: Option<String> },
}
