//! The kubelet and its configuration.

use std::net::IpAddr;

use serde_json::json;

use super::space::Space;
use crate::{
    control_plane::ControlPlane, error::Error, janitor::RunDir, kubeconfig, parts::NodeParts,
    process::Process, version::Minor,
};

/// containerd's socket, as the node sees it.
const SOCKET: &str = "unix:///run/containerd/containerd.sock";

/// What a kubelet is made of.
pub(super) struct Kubelet<'a> {
    pub(super) dir: &'a RunDir,
    pub(super) space: &'a Space,
    pub(super) parts: &'a NodeParts,
    pub(super) control_plane: &'a ControlPlane,
    pub(super) name: &'a str,
    pub(super) address: IpAddr,
    pub(super) port: u16,
}

impl Kubelet<'_> {
    /// The kubelet in a node's namespaces; it does not run yet.
    pub(super) fn process(&self) -> Result<Process, Error> {
        let Self { dir, control_plane, .. } = self;
        let authority = control_plane.authority();
        dir.write("ca.crt", authority.certificate())?;
        let identity =
            authority.client(&format!("system:node:{}", self.name), Some("system:nodes"))?;
        let kubeconfig =
            kubeconfig::render(control_plane.url(), authority.certificate(), &identity);
        let kubeconfig = dir.write("kubelet.kubeconfig", kubeconfig)?;
        let config = dir.write("kubelet.json", self.configuration()?.to_string())?;
        let mut process =
            Process::new("kubelet", &self.parts.kubelet, dir.path().join("kubelet.log"))
                .arguments([
                    format!("--config={}", config.display()),
                    format!("--kubeconfig={}", kubeconfig.display()),
                    format!("--hostname-override={}", self.name),
                    format!("--node-ip={}", self.address),
                ])
                .inside(self.space.wrapper());
        if self.parts.minor < Minor::ENDPOINT_IN_CONFIGURATION {
            process = process.arguments([format!("--container-runtime-endpoint={SOCKET}")]);
        }
        if self.parts.minor <= Minor::CONTAINER_RUNTIME {
            process = process.arguments(["--container-runtime=remote"]);
        }
        Ok(process)
    }

    fn configuration(&self) -> Result<serde_json::Value, Error> {
        // No name is resolved: what a pod is to reach it reaches by address.
        let names = self.dir.write("resolv.conf", "")?;
        let mut config = json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": self.address,
            "port": self.port,
            "healthzPort": 0,
            "authentication": {
                "anonymous": { "enabled": false },
                "webhook": { "enabled": false },
                "x509": { "clientCAFile": self.dir.path().join("ca.crt") },
            },
            "authorization": { "mode": "AlwaysAllow" },
            "cgroupDriver": "cgroupfs",
            "cgroupsPerQOS": false,
            "enforceNodeAllocatable": [],
            "clusterDNS": [self.control_plane.network().dns()],
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
            "failSwapOn": false,
            // The machine's own rules stay as they are.
            "makeIPTablesUtilChains": false,
            // Changes of the node and of pods are seen soon.
            "nodeStatusUpdateFrequency": "2s",
            "nodeStatusReportFrequency": "1m",
            "resolvConf": names,
        });
        if self.parts.minor >= Minor::ENDPOINT_IN_CONFIGURATION {
            config["containerRuntimeEndpoint"] = SOCKET.into();
        }
        if self.parts.minor >= Minor::ISOLATION_IN_CONFIGURATION {
            config["localStorageCapacityIsolation"] = false.into();
        } else {
            config["featureGates"] = json!({ "LocalStorageCapacityIsolation": false });
        }
        if self.parts.minor >= Minor::FAIL_CGROUP_V1 {
            config["failCgroupV1"] = false.into();
        }
        Ok(config)
    }
}
