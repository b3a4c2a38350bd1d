//! Names of the fleet's objects on the management cluster.

use image_swap_cluster::Release;

/// Key of the bundle in its `ConfigMap`.
pub(crate) const BUNDLE: &str = "bundle.yaml";

/// Names of objects in the namespace of the fleet controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FleetNames {
    /// The fleet controller as a release of its own: its Lease and its Events.
    pub(crate) controller: Release,
}

impl FleetNames {
    /// Returns the names for the fleet controller of `release` in `namespace`.
    pub(crate) fn new(namespace: &str, release: &Release) -> Self {
        let name = format!("{}-fleet", release.name);
        Self { controller: Release { namespace: namespace.to_owned(), name } }
    }

    /// Returns the name of the `ConfigMap` with the bundle of workload clusters.
    pub(crate) fn bundle(&self) -> String {
        format!("{}-bundle", self.controller.name)
    }

    /// Returns the name of the Secret with earlier declarations.
    pub(crate) fn history(&self) -> String {
        format!("{}-history", self.controller.name)
    }

    /// Returns the name of the Secret with the declaration of `namespace`.
    pub(crate) fn namespace_declaration(&self, namespace: &str) -> String {
        format!("{}-declaration-{namespace}", self.controller.name)
    }

    /// Returns the name of the `ConfigMap` with the state of the rollout.
    pub(crate) fn state(&self) -> String {
        format!("{}-state", self.controller.name)
    }
}
