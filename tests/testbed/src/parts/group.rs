//! Groups of parts, as tests name them in `#[ignore = "needs GROUP: cargo xtask test"]`.

use super::Parts;
use crate::error::Missing;

/// A set of parts that a test needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// etcd, API server, controller manager, scheduler, kubectl.
    ApiServer,
    /// The registry.
    Registry,
    /// A node with its control plane and a registry.
    Node,
    /// Container runtimes of several ages, podman, skopeo.
    Runtimes,
    /// Helm 4 and Helm 3.
    Helm,
    /// The API server and Helm.
    ApiServerAndHelm,
    /// A node, a control plane, a registry, Helm.
    Cluster,
    /// A cluster with a second node, which has an old containerd.
    TwoNodes,
    /// Cluster API on an API server, and Helm.
    ClusterApi,
}

impl Group {
    /// All groups.
    pub const ALL: [Self; 9] = [
        Self::ApiServer,
        Self::Registry,
        Self::Node,
        Self::Runtimes,
        Self::Helm,
        Self::ApiServerAndHelm,
        Self::Cluster,
        Self::TwoNodes,
        Self::ClusterApi,
    ];

    /// Returns the name that tests use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ApiServer => "the API server",
            Self::Registry => "the registry",
            Self::Node => "a node",
            Self::Runtimes => "container runtimes",
            Self::Helm => "Helm",
            Self::ApiServerAndHelm => "the API server and Helm",
            Self::Cluster => "a cluster",
            Self::TwoNodes => "two nodes",
            Self::ClusterApi => "Cluster API",
        }
    }

    /// Checks that every part of the group is there.
    ///
    /// # Errors
    /// The first missing part.
    pub fn check(self, parts: &Parts) -> Result<(), Missing> {
        let servers = || parts.servers().and(parts.controllers()).map(drop);
        let registry = || parts.registry().map(drop);
        let helm = || parts.helm().map(drop);
        let node = || servers().and(registry()).and(parts.node().map(drop));
        match self {
            Self::ApiServer => servers(),
            Self::Registry => registry(),
            Self::Node => node(),
            Self::Runtimes => registry().and(parts.runtimes().map(drop)),
            Self::Helm => helm(),
            Self::ApiServerAndHelm => servers().and(helm()),
            Self::Cluster => node().and(helm()),
            Self::TwoNodes => node().and(helm()).and(parts.runtimes().map(drop)),
            Self::ClusterApi => servers().and(helm()).and(parts.cluster_api().map(drop)),
        }
    }
}
