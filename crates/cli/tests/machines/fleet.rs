//! The fleet controller finds a `Cluster` with the Secret that the real Cluster API writes.

use std::time::Duration;

use image_swap_testbed::{ControlPlane, Wait, until};
use serde_json::{Value, json};

use crate::{
    management::{NAMESPACE as MACHINES, PLAIN, apply, output},
    release::Release,
};

/// The namespace of a `Cluster` whose control plane is a real API server. It has no machines, so
/// clusterctl would not move it.
pub(crate) const NAMESPACE: &str = "remote";

const DEADLINE: Duration = Duration::from_mins(2);

/// Creates the `Cluster` called `cluster` in `home`, whose control plane is `workload`, a real API
/// server. Cluster API writes its kubeconfig with the authority of that API server.
pub(crate) fn register(plane: &ControlPlane, workload: &ControlPlane, home: &str, cluster: &str) {
    // Cluster API takes this object as the sign of an initialised control plane.
    let sign = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "kubeadm-config", "namespace": "kube-system" },
    });
    apply(workload, &sign.to_string());
    let authority = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "cluster.x-k8s.io/secret",
        "metadata": {
            "name": format!("{cluster}-ca"), "namespace": home,
            "labels": { "cluster.x-k8s.io/cluster-name": cluster },
        },
        "stringData": {
            "tls.crt": workload.authority().certificate(),
            "tls.key": workload.authority().key(),
        },
    });
    apply(plane, &authority.to_string());
    let infrastructure = json!({
        "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta2", "kind": "DevCluster",
        "metadata": {
            "name": cluster, "namespace": home,
            "annotations": { "cluster.x-k8s.io/managed-by": "administrator" },
        },
        "spec": {
            "backend": { "inMemory": {} },
            "controlPlaneEndpoint": { "host": "127.0.0.1", "port": workload.port() },
        },
    });
    let namespace = |name: &str| format!("namespace: {name}");
    let manifests = PLAIN.replace("NAME", cluster);
    let manifests = manifests.replace(&namespace(MACHINES), &namespace(home));
    let is_kept = |it: &&str| {
        !it.contains("\nkind: DevCluster\n") && !it.contains("\nkind: MachineDeployment\n")
    };
    let others: Vec<&str> = manifests.split("---\n").filter(is_kept).collect();
    apply(plane, &format!("{}---\n{infrastructure}\n", others.join("---\n")));
    let status = json!({ "status": { "initialization": { "provisioned": true } } }).to_string();
    let arguments = ["patch", "devcluster", cluster, "--namespace", home, "--type=merge"];
    output(plane.kubectl().args(arguments).args(["--subresource=status", "--patch", &status]));
}

/// Waits until the fleet controller has stored the declaration in `workload`, which it finds by the
/// `Cluster` and the Secret of Cluster API.
pub(crate) fn check(release: &Release<'_>, workload: &ControlPlane, cluster: &str) {
    let plane = release.plane;
    let path =
        format!("/apis/image-swap.io/v1alpha1/namespaces/{NAMESPACE}/workloadclusters/{cluster}");
    until("the declaration in the workload cluster", DEADLINE, || {
        let status = plane.get(&path)?.unwrap_or_default()["status"].clone();
        if condition(&status, "Applied")["reason"] == "InForce" {
            return Ok(());
        }
        let cluster = plane.get(&format!(
            "/apis/cluster.x-k8s.io/v1beta2/namespaces/{NAMESPACE}/clusters/{cluster}"
        ))?;
        let cluster = cluster.unwrap_or_default()["status"].clone();
        Err(Wait::NotYet(format!("{status}\n{cluster}\n{}", release.logs())))
    })
    .unwrap();
    let declared = workload.get("/api/v1/namespaces/jet-system/secrets/registry-info").unwrap();
    assert_eq!(
        declared.unwrap()["metadata"]["annotations"]["image-swap.io/revision"],
        "1",
        "the declaration of the management cluster"
    );
}

/// Returns the condition `kind` of a status; null if it is absent.
fn condition(status: &Value, kind: &str) -> Value {
    let mut all = status["conditions"].as_array().into_iter().flatten();
    all.find(|it| it["type"] == kind).cloned().unwrap_or_default()
}
