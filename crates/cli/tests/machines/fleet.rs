//! The fleet controller finds a `Cluster` with the Secret that the real Cluster API writes.

use std::{collections::BTreeMap, path::Path, process::Command, time::Duration};

use image_swap_core::{
    control::effective::{Effective, Origin, SecretData},
    status::StoredDeclaration,
};
use image_swap_testbed::{ControlPlane, Port, Process, Wait, until};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::management::{NAMESPACE, PLAIN, apply, output, parts};

const DEADLINE: Duration = Duration::from_mins(2);
const RELEASE: &str = "image-swap";
const FLEET: &str = "image-swap-fleet";

/// Creates a `Cluster` whose control plane is `workload`, a real API server. Cluster API writes its
/// kubeconfig with the authority of that API server.
pub(crate) fn register(plane: &ControlPlane, workload: &ControlPlane, cluster: &str) {
    // Cluster API takes this object as the sign of an initialised control plane.
    let sign = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "kubeadm-config", "namespace": "kube-system" },
    });
    apply(workload, &sign.to_string());
    let authority = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "cluster.x-k8s.io/secret",
        "metadata": {
            "name": format!("{cluster}-ca"), "namespace": NAMESPACE,
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
            "name": cluster, "namespace": NAMESPACE,
            "annotations": { "cluster.x-k8s.io/managed-by": "administrator" },
        },
        "spec": {
            "backend": { "inMemory": {} },
            "controlPlaneEndpoint": { "host": "127.0.0.1", "port": workload.port() },
        },
    });
    let manifests = PLAIN.replace("NAME", cluster);
    let is_kept = |it: &&str| {
        !it.contains("\nkind: DevCluster\n") && !it.contains("\nkind: MachineDeployment\n")
    };
    let others: Vec<&str> = manifests.split("---\n").filter(is_kept).collect();
    apply(plane, &format!("{}---\n{infrastructure}\n", others.join("---\n")));
    let status = json!({ "status": { "initialization": { "provisioned": true } } }).to_string();
    let arguments = ["patch", "devcluster", cluster, "--namespace", NAMESPACE, "--type=merge"];
    output(plane.kubectl().args(arguments).args(["--subresource=status", "--patch", &status]));
}

/// Runs the fleet controller until the declaration is stored in `workload`, which it finds by the
/// `Cluster` and the Secret of Cluster API.
pub(crate) fn check(plane: &ControlPlane, workload: &ControlPlane, cluster: &str) {
    for namespace in [RELEASE, FLEET] {
        plane.create_namespace(namespace).unwrap();
    }
    apply(plane, &bundle());
    apply(plane, &declaration().to_string());
    let folder = TempDir::new().unwrap();
    let port = Port::reserve().unwrap();
    let log = folder.path().join("fleet.log");
    let mut fleet =
        Process::new("fleet", env!("CARGO_BIN_EXE_image-swap"), log.clone()).arguments([
            "fleet".to_owned(),
            format!("--namespace={FLEET}"),
            format!("--release-namespace={RELEASE}"),
            format!("--namespaces={NAMESPACE}"),
            "--source=cluster-api".to_owned(),
            format!("--kubeconfig={}", plane.kubeconfig().display()),
            format!("--admin-listen=127.0.0.1:{}", port.number()),
        ]);
    fleet.start().unwrap();
    let path =
        format!("/apis/image-swap.io/v1alpha1/namespaces/{NAMESPACE}/workloadclusters/{cluster}");
    until("the declaration in the workload cluster", DEADLINE, || {
        fleet.check()?;
        let status = plane.get(&path)?.unwrap_or_default()["status"].clone();
        if condition(&status, "Applied")["reason"] == "InForce" {
            return Ok(());
        }
        let cluster = plane.get(&format!(
            "/apis/cluster.x-k8s.io/v1beta2/namespaces/{NAMESPACE}/clusters/{cluster}"
        ))?;
        let cluster = cluster.unwrap_or_default()["status"].clone();
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        Err(Wait::NotYet(format!("{status}\n{cluster}\n{log}")))
    })
    .unwrap();
    let declared = workload.get("/api/v1/namespaces/jet-system/secrets/registry-info").unwrap();
    assert_eq!(
        declared.unwrap()["metadata"]["annotations"]["image-swap.io/revision"],
        "1",
        "the declaration of the management cluster"
    );
    fleet.stop().unwrap();
}

/// Returns the condition `kind` of a status; null if it is absent.
fn condition(status: &Value, kind: &str) -> Value {
    let mut all = status["conditions"].as_array().into_iter().flatten();
    all.find(|it| it["type"] == kind).cloned().unwrap_or_default()
}

/// Returns the bundle of workload clusters, the custom resource, and the owner of the objects that
/// the fleet controller creates.
fn bundle() -> String {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/image-swap");
    let mut helm = Command::new(&parts().helm().unwrap().helm4);
    helm.arg("template").arg(RELEASE).arg(chart).args([
        "--namespace=image-swap",
        "--set=fleet.enabled=true,fleet.namespaces={clusters},image.registry=harbor.example.org",
        "--show-only=templates/fleet/bundle.yaml",
        "--show-only=templates/fleet/clusterrole.yaml",
        "--show-only=templates/fleet/crd.yaml",
    ]);
    output(&mut helm)
}

/// Returns the Secret with the declaration in force on the management cluster.
fn declaration() -> Value {
    let data = [
        ("DOMAIN", "harbor.example.org"),
        ("BASE_PATH", ""),
        ("USERNAME", "robot"),
        ("PASSWORD", "hunter2-hunter2"),
        ("INSECURE", "false"),
        ("MIRROR_REGISTRIES", "docker.io::harbor.example.org/docker.io"),
    ];
    let data = data.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()));
    let secret = SecretData { kind: "Opaque".to_owned(), data: BTreeMap::from(data) };
    let stored = StoredDeclaration(Effective { origin: Origin::RegistryInfo, secret }).data();
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {
            "name": "image-swap-last-good", "namespace": RELEASE,
            "annotations": { "image-swap.io/revision": "1" },
        },
        "stringData": stored,
    })
}
