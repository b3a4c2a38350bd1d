//! The runtime of a node, and the support of agents for it.

/// Facts about a Node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// `status.nodeInfo.operatingSystem`, such as `linux`.
    pub os: String,
    /// `status.nodeInfo.osImage`, such as `Ubuntu 24.04.3 LTS`.
    pub os_image: String,
    /// `status.nodeInfo.kubeletVersion`, such as `v1.34.1+k3s1`.
    pub kubelet_version: String,
    /// `status.nodeInfo.containerRuntimeVersion`, such as `containerd://2.4.1`.
    pub container_runtime_version: String,
    /// True if the labels of the Node show that no host is behind it.
    pub labels_virtual: bool,
}

/// A runtime that agents configure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AgentRuntime {
    /// containerd of the host.
    Containerd,
    /// CRI-O.
    Crio,
    /// containerd within k3s or RKE2.
    K3s,
}

impl AgentRuntime {
    /// Returns the value of the label [`crate::labels::NODE_RUNTIME`].
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::Crio => "crio",
            Self::K3s => "k3s",
        }
    }
}

/// Support of agents for a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeSupport {
    /// An agent configures the runtime.
    Agent(AgentRuntime),
    /// Only the API of its operating system may change the host. Holds the system and the remedy.
    Managed(String),
    /// Agents do not support the runtime. Holds the runtime and the remedy.
    Unsupported(String),
    /// No host to configure: Windows, or a virtual node.
    Excluded,
}

/// Returns the support of agents for a node.
pub fn support(facts: &NodeFacts) -> NodeSupport {
    if facts.labels_virtual || facts.os == "windows" {
        return NodeSupport::Excluded;
    }
    NodeSupport::Agent(AgentRuntime::Containerd)
}
