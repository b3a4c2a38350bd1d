//! A workload cluster beside the cluster of a test.

use std::{
    net::{IpAddr, Ipv4Addr},
    process::Stdio,
};

use anyhow::{Result, ensure};
use image_swap_testbed::{ControlPlane, Error, Node, NodeOptions, Options, Wait, is_ready, until};
use serde_json::Value;

use crate::{
    DEADLINE,
    helm_cluster::{HelmCluster, image, print_step},
};

/// A workload cluster with one node. Its containerd does not know the registry, and has the image
/// of the program.
#[derive(Debug)]
pub struct WorkloadPlane {
    // Dropped in this order: clients before servers.
    /// The node.
    pub node: Node,
    /// The control plane.
    pub control_plane: ControlPlane,
}

impl WorkloadPlane {
    /// The host of the API server for pods of the management cluster.
    pub const HOST: &str = "edge-1.example.org";

    /// Returns the name and address that the nodes of a management cluster resolve.
    pub fn host() -> (String, IpAddr) {
        (Self::HOST.to_owned(), Ipv4Addr::LOCALHOST.into())
    }

    /// Returns an administrator's kubeconfig for pods of a management cluster that resolves
    /// [`HOST`](Self::HOST).
    ///
    /// # Errors
    /// The certificate cannot be made, or the kubeconfig has another form.
    pub fn kubeconfig(&self) -> Result<String> {
        Self::kubeconfig_of(&self.control_plane)
    }

    /// Returns the same for the API server of `plane`.
    ///
    /// # Errors
    /// The certificate cannot be made, or the kubeconfig has another form.
    pub fn kubeconfig_of(plane: &ControlPlane) -> Result<String> {
        let (text, port) = (plane.administrator_kubeconfig()?, plane.port());
        let mut config: Value = serde_json::from_str(&text)?;
        let cluster = &mut config["clusters"][0]["cluster"];
        ensure!(cluster.is_object(), "expected a cluster in the kubeconfig");
        cluster["server"] = format!("https://{}:{port}", Self::HOST).into();
        // The certificate does not contain the host.
        cluster["tls-server-name"] = "kubernetes".into();
        Ok(config.to_string())
    }

    /// Runs `kubectl` as the administrator and returns its standard output.
    ///
    /// # Errors
    /// kubectl fails; the error has all of its output.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.control_plane.kubectl();
        let output = command.args(arguments).stdin(Stdio::null()).output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kubectl {}: {error}", arguments.join(" "));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Waits until the pod is `Ready`, and returns it.
    ///
    /// # Errors
    /// The deadline has passed; the error has the last state.
    pub fn wait_pod(&self, namespace: &str, name: &str) -> Result<Value> {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
        Ok(until(&format!("the pod {name}"), DEADLINE, || match self.control_plane.get(&path) {
            Ok(Some(pod)) if is_ready(&pod) => Ok(pod),
            Ok(found) => Err(Wait::NotYet(found.unwrap_or_default()["status"].to_string())),
            Err(error @ Error::Unavailable(_)) => Err(Wait::Failed(error)),
            Err(error) => Err(Wait::NotYet(error.to_string())),
        })?)
    }
}

impl HelmCluster {
    /// Starts a workload cluster without a node: its API server alone.
    ///
    /// # Errors
    /// A part is missing, or a server does not start.
    pub fn start_api_server(&self) -> Result<ControlPlane> {
        print_step("starting a workload cluster without a node");
        Ok(ControlPlane::start(&self.parts, &Options::default())?)
    }

    /// Starts a workload cluster whose node reaches the same registry.
    ///
    /// # Errors
    /// A part is missing, or a server does not start.
    pub fn start_workload(&self) -> Result<WorkloadPlane> {
        print_step("starting a workload cluster");
        let control_plane = ControlPlane::start(&self.parts, &Options::complete())?;
        let options = NodeOptions { hosts: self.hosts.clone(), ..NodeOptions::default() };
        let node = Node::start(&self.parts, &control_plane, &options)?;
        node.import_product(&self.product, &image())?;
        Ok(WorkloadPlane { node, control_plane })
    }
}
