//! kube-proxy and its configuration.

use std::path::Path;

use serde_json::json;

use super::{network::Network, space::Space};
use crate::{error::Error, janitor::RunDir, process::Process};

/// Returns kube-proxy in a node's namespaces, not yet started.
pub(super) fn process(
    dir: &RunDir,
    space: &Space,
    program: &Path,
    network: &Network,
    kubeconfig: &Path,
    node: &str,
) -> Result<Process, Error> {
    let config = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": { "kubeconfig": kubeconfig },
        "hostnameOverride": node,
        "clusterCIDR": network.pods(),
        // Pods of one bridge answer each other directly. Only with the node as the
        // source of the request does the answer pass the rules again.
        "iptables": { "masqueradeAll": true },
        // The machine's own limits stay as they are.
        "conntrack": {
            "maxPerCore": 0, "min": 0,
            "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s",
        },
    });
    let config = dir.write("kube-proxy.json", config.to_string())?;
    Ok(Process::new("kube-proxy", program, dir.path().join("kube-proxy.log"))
        .arguments([format!("--config={}", config.display())])
        .inside(space.wrapper()))
}
