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

/// Prefixes of `osImage` of systems whose own API configures the host, and the remedy for each.
/// The remedies are those of the command `image-swap node` on such a host.
const MANAGED: [(&str, &str); 8] = [
    (
        "Bottlerocket",
        "use its API, settings.container-registry.mirrors; it has no paths: mirror at the root of a \
         registry",
    ),
    ("Talos", "apply the output of `image-swap render talos` with `talosctl patch machineconfig`"),
    ("Red Hat Enterprise Linux CoreOS", OPENSHIFT),
    ("CentOS Stream CoreOS", OPENSHIFT),
    ("OpenShift", OPENSHIFT),
    ("Container-Optimized OS", "use the node pool's `containerdConfig.registryHosts`"),
    ("Flatcar", "put the output of `image-swap render containerd` into the Ignition configuration"),
    ("NixOS", "use `virtualisation.containerd.settings` and `environment.etc`"),
];

/// Remedy for OpenShift.
const OPENSHIFT: &str = "apply the output of `image-swap render openshift`";

/// Part of CRI-O's version on OpenShift, also on workers with Red Hat Enterprise Linux.
const OPENSHIFT_BUILD: &str = ".rhaos";

/// Remedy for dockerd.
const DOCKER: &str = "run `image-swap node apply --registry-info registry-secret.yaml --runtime \
                      docker` on the host";

/// Returns the support of agents for a node.
pub fn support(facts: &NodeFacts) -> NodeSupport {
    if facts.labels_virtual || facts.os == "windows" {
        return NodeSupport::Excluded;
    }
    if let Some(managed) = managed(facts) {
        return NodeSupport::Managed(managed);
    }
    let found = &facts.container_runtime_version;
    match found.split_once("://") {
        Some(("containerd", version)) => {
            let kubelet = &facts.kubelet_version;
            let is_k3s = version.contains("-k3s")
                || ["+k3s", "+rke2"].iter().any(|build| kubelet.contains(build));
            NodeSupport::Agent(if is_k3s { AgentRuntime::K3s } else { AgentRuntime::Containerd })
        }
        Some(("cri-o", _)) => NodeSupport::Agent(AgentRuntime::Crio),
        Some(("docker", _)) => NodeSupport::Unsupported(format!("{found}: {DOCKER}")),
        _ if found.is_empty() => {
            NodeSupport::Unsupported("the kubelet has not reported its runtime".to_owned())
        }
        _ => NodeSupport::Unsupported(format!(
            "{found}: expected containerd:// or cri-o://; configure the runtime by hand"
        )),
    }
}

/// Returns the system of a managed node and the remedy; `None` if its administrator may change
/// the host.
fn managed(facts: &NodeFacts) -> Option<String> {
    let image = &facts.os_image;
    if let Some((_, remedy)) = MANAGED.iter().find(|(prefix, _)| image.starts_with(prefix)) {
        return Some(format!("{image}: {remedy}"));
    }
    let is_openshift = facts.container_runtime_version.contains(OPENSHIFT_BUILD);
    is_openshift.then(|| format!("OpenShift on {image}: {OPENSHIFT}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes as `kubectl get nodes -o wide` shows them: kubelet, system, runtime.
    const NODES: [([&str; 3], &str); 19] = [
        (["v1.34.1", "Ubuntu 24.04.3 LTS", "containerd://2.1.4"], "containerd"),
        (["v1.33.5", "Debian GNU/Linux 12 (bookworm)", "containerd://1.6.20~ds1"], "containerd"),
        (
            ["v1.33.5-eks-113cf36", "Amazon Linux 2023.9.20250929", "containerd://1.7.27"],
            "containerd",
        ),
        (["v1.34.1+k0s", "Alpine Linux v3.22", "containerd://1.7.28"], "containerd"),
        (["v1.33.4", "Ubuntu 22.04.5 LTS", "containerd://1.7.28-1"], "containerd"),
        (
            [
                "v1.30.3+k3s-b11486d3",
                "SUSE Linux Enterprise Server 15 SP5",
                "containerd://1.7.20-k3s1",
            ],
            "k3s",
        ),
        (["v1.28.12+k3s1", "Ubuntu 22.04.4 LTS", "containerd://1.7.20-k3s2.28"], "k3s"),
        (["v1.30.3+rke2r1", "CentOS Linux 8 (Core)", "containerd://1.7.20-k3s1"], "k3s"),
        (["v1.34.1+rke2r1", "Rocky Linux 9.6 (Blue Onyx)", "containerd://2.1.4"], "k3s"),
        (["v1.34.0", "Fedora Linux 42 (Server Edition)", "cri-o://1.34.0"], "crio"),
        (["v1.27.3", "Ubuntu 22.04.2 LTS", "docker://24.0.5"], "unsupported"),
        (["v1.30.2+k3s1", "Ubuntu 22.04.2 LTS", "docker://20.10.7"], "unsupported"),
        (
            [
                "v1.24.16-eks-a483404",
                "Bottlerocket OS 1.15.0 (vmware-k8s-1.24)",
                "containerd://1.6.23+bottlerocket",
            ],
            "managed",
        ),
        (["v1.34.0", "Talos (v1.11.1)", "containerd://2.1.4"], "managed"),
        (
            [
                "v1.20.0+bd9e442",
                "Red Hat Enterprise Linux CoreOS 47.84.202102161611-0 (Ootpa)",
                "cri-o://1.20.0-0.rhaos4.7.gitfdbdf43.el8.52",
            ],
            "managed",
        ),
        (
            [
                "v1.31.6",
                "Red Hat Enterprise Linux 8.10 (Ootpa)",
                "cri-o://1.31.6-2.rhaos4.18.git1a9b9a3.el8",
            ],
            "managed",
        ),
        (
            ["v1.33.4-gke.1350000", "Container-Optimized OS from Google", "containerd://2.0.6"],
            "managed",
        ),
        (
            ["v1.33.1", "Flatcar Container Linux by Kinvolk 4230.2.3 (Oklo)", "containerd://2.0.5"],
            "managed",
        ),
        (["v1.33.4", "NixOS 25.05 (Warbler)", "containerd://2.1.4"], "managed"),
    ];

    fn facts([kubelet, image, runtime]: [&str; 3]) -> NodeFacts {
        NodeFacts {
            os: "linux".into(),
            os_image: image.into(),
            kubelet_version: kubelet.into(),
            container_runtime_version: runtime.into(),
            labels_virtual: false,
        }
    }

    #[test]
    fn every_node_has_its_support() {
        for (node, expected) in NODES {
            let found = match support(&facts(node)) {
                NodeSupport::Agent(runtime) => runtime.as_str(),
                NodeSupport::Managed(remedy) => {
                    assert!(remedy.contains(node[1]), "{remedy}");
                    "managed"
                }
                NodeSupport::Unsupported(remedy) => {
                    let command = "`image-swap node apply --registry-info registry-secret.yaml \
                                   --runtime docker`";
                    assert!(remedy.contains(command) && remedy.starts_with(node[2]), "{remedy}");
                    "unsupported"
                }
                NodeSupport::Excluded => "excluded",
            };
            assert_eq!(found, expected, "{node:?}");
        }
    }

    #[test]
    fn node_without_a_known_runtime_is_unsupported() {
        for runtime in ["", "rkt://1.30.0", "containerd"] {
            let found = support(&facts(["v1.34.1", "Ubuntu 24.04.3 LTS", runtime]));
            assert!(matches!(found, NodeSupport::Unsupported(_)), "{runtime}: {found:?}");
        }
    }

    #[test]
    fn node_without_a_linux_host_is_excluded() {
        let linux = facts(["v1.33.5-eks-ba24e9c", "Amazon Linux 2", "containerd://1.7.27"]);
        let windows = NodeFacts { os: "windows".into(), ..linux.clone() };
        assert_eq!(support(&windows), NodeSupport::Excluded);
        let is_virtual = NodeFacts { labels_virtual: true, ..linux };
        assert_eq!(support(&is_virtual), NodeSupport::Excluded);
    }

    #[test]
    fn values_of_the_label_never_change() {
        let runtimes = [AgentRuntime::Containerd, AgentRuntime::Crio, AgentRuntime::K3s];
        assert_eq!(runtimes.map(AgentRuntime::as_str), ["containerd", "crio", "k3s"]);
    }
}
