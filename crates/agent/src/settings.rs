//! The settings of an agent.

use std::{path::PathBuf, time::Duration};

use image_swap_node::ContainerRuntime;

/// The settings of an agent.
#[derive(Clone, Debug)]
pub struct NodeAgentSettings {
    /// Namespace of the release.
    pub namespace: String,
    /// Name of the Secret with the declaration for nodes.
    pub secret: String,
    /// Name of the Node, which its `NodeMirror` has too.
    pub node: String,
    /// Runtime of the node; [`ContainerRuntime::K3s`] stands for RKE2 too.
    pub runtime: ContainerRuntime,
    /// Directory where `/` of the host is mounted.
    pub root: PathBuf,
    /// Longest time between two looks at the host.
    pub resync: Duration,
    /// Restarts of the runtime for a declaration that needs one.
    pub restart: AgentRestart,
}

/// Restarts of the runtime for a declaration that needs one. The agent itself restarts nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AgentRestart {
    /// An administrator restarts the runtime.
    #[default]
    Never,
    /// The agent writes an order on the host, which the controller has applied on one node after
    /// the other.
    Rolling,
}
