//! A control plane, a node and a registry together.

use std::path::Path;

use crate::{
    control_plane::{ControlPlane, Options},
    error::Error,
    node::{Node, NodeOptions},
    parts::Parts,
    pki::Authority,
    port::loopback,
    process::Process,
    progress::Progress,
    registry::{Registry, RegistryOptions},
};

/// A control plane with its controllers, one node, one registry.
#[derive(Debug)]
pub struct Cluster {
    // Dropped in this order: clients before servers.
    /// The first node of the cluster.
    pub node: Node,
    /// The control plane of the cluster.
    pub control_plane: ControlPlane,
    /// The registry [`Cluster::REGISTRY`], with TLS, without users. The node trusts it;
    /// the node and its pods resolve its name.
    pub registry: Registry,
}

impl Cluster {
    /// The host of the registry, as image references begin.
    pub const REGISTRY: &str = "harbor.example.org";

    /// Starts all parts, and returns when they are ready.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if a part is missing; the end of a log if a server does not
    /// start.
    pub fn start(parts: &Parts, progress: Progress<'_>) -> Result<Self, Error> {
        progress("starting the registry");
        let authority = Authority::new("company")?;
        let address = loopback();
        let options = RegistryOptions {
            tls: Some(authority.server(&[Self::REGISTRY, &address.to_string()])?),
            authority: Some(authority.certificate().to_owned()),
            host: Some(Self::REGISTRY.to_owned()),
            ..RegistryOptions::default()
        };
        let registry = Registry::start_at(parts, &options, (address, 443).into())?;
        progress("starting the control plane");
        let control_plane = ControlPlane::start(parts, &Options::complete())?;
        progress("starting the node");
        let hosts = vec![(Self::REGISTRY.to_owned(), address.into())];
        let node =
            Node::start(parts, &control_plane, &NodeOptions { hosts, ..NodeOptions::default() })?;
        node.trust(&registry)?;
        Ok(Self { node, control_plane, registry })
    }

    /// Returns the administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        self.control_plane.kubeconfig()
    }

    /// Returns all processes except those of pods.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        let registry = [self.registry.running()].into_iter();
        self.control_plane.processes().chain(self.node.processes()).chain(registry)
    }
}
