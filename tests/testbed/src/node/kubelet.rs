//! The kubelet and its configuration.

use std::path::Path;

use serde_json::json;

use super::{network::Network, space::Space};
use crate::{error::Error, janitor::RunDir, process::Process};

/// The socket of containerd, as the node sees it.
const SOCKET: &str = "unix:///run/containerd/containerd.sock";
/// The folder of the manifests of static pods.
pub(super) const STATIC_PODS: &str = "manifests";

/// The inputs of a kubelet's configuration.
pub(super) struct Kubelet<'a> {
    pub(super) dir: &'a RunDir,
    pub(super) space: &'a Space,
    pub(super) program: &'a Path,
    pub(super) kubeconfig: &'a Path,
    pub(super) name: &'a str,
    pub(super) network: &'a Network,
}

impl Kubelet<'_> {
    /// Returns the kubelet in a node's namespaces, not yet started.
    pub(super) fn process(&self) -> Result<Process, Error> {
        let Self { dir, .. } = self;
        let config = dir.write("kubelet.json", self.configuration()?.to_string())?;
        Ok(Process::new("kubelet", self.program, dir.path().join("kubelet.log"))
            .arguments([
                format!("--config={}", config.display()),
                format!("--kubeconfig={}", self.kubeconfig.display()),
                format!("--hostname-override={}", self.name),
                format!("--node-ip={}", self.network.node()),
            ])
            .inside(self.space.wrapper()))
    }

    fn configuration(&self) -> Result<serde_json::Value, Error> {
        // The machine's own name servers are not for pods.
        let names = format!("nameserver {}\n", self.network.machine());
        let names = self.dir.write("resolv.conf", names)?;
        Ok(json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": self.network.node(),
            "healthzPort": 0,
            "authentication": {
                "anonymous": { "enabled": false },
                "webhook": { "enabled": false },
                "x509": { "clientCAFile": self.dir.path().join("ca.crt") },
            },
            "authorization": { "mode": "AlwaysAllow" },
            "cgroupDriver": "cgroupfs",
            "cgroupsPerQOS": true,
            "enforceNodeAllocatable": [],
            "clusterDNS": [self.network.machine()],
            "clusterDomain": "cluster.local",
            "enableControllerAttachDetach": false,
            // A full disk or little memory is the machine's concern, not a test's.
            "evictionHard": {
                "imagefs.available": "0%",
                "memory.available": "0%",
                "nodefs.available": "0%",
                "nodefs.inodesFree": "0%",
            },
            "imageGCHighThresholdPercent": 100,
            "containerRuntimeEndpoint": SOCKET,
            "failSwapOn": false,
            "failCgroupV1": false,
            "localStorageCapacityIsolation": false,
            // The machine's own rules stay as they are.
            "makeIPTablesUtilChains": false,
            // Changes of the node and of pods are seen soon.
            "nodeStatusUpdateFrequency": "2s",
            "nodeStatusReportFrequency": "1m",
            "resolvConf": names,
            "staticPodPath": self.dir.make(STATIC_PODS)?,
            "fileCheckFrequency": "1s",
        }))
    }
}
