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
}
