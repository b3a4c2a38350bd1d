//! All of it together.

use std::path::Path;

use crate::{
    control_plane::{ControlPlane, Options},
    error::Error,
    node::{Node, NodeOptions},
    parts::{Parts, Progress},
    process::Process,
    registry::{Registry, RegistryOptions},
};

/// A control plane with its controllers, one node, one registry.
#[derive(Debug)]
pub struct Cluster {
    // Dropped in this order: who asks before who is asked.
    /// The node.
    pub node: Node,
    /// The control plane.
    pub control_plane: ControlPlane,
    /// The registry: plain HTTP, open to anyone on this machine.
    pub registry: Registry,
}

impl Cluster {
    /// Starts everything, and returns when all of it is ready.
    ///
    /// # Errors
    /// As of the parts' own `start`.
    pub fn start(parts: &Parts, progress: Progress<'_>) -> Result<Self, Error> {
        progress("starting the registry");
        let registry = Registry::start(parts, &RegistryOptions::default())?;
        progress("starting the control plane");
        let control_plane = ControlPlane::start(parts, &Options::complete())?;
        progress("starting the node");
        let node = Node::start(parts, &control_plane, &NodeOptions::default())?;
        Ok(Self { node, control_plane, registry })
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        self.control_plane.kubeconfig()
    }

    /// All processes but those of pods.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        let registry = [self.registry.running()].into_iter();
        self.control_plane.processes().chain(self.node.processes()).chain(registry)
    }
}
