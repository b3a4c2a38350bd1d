//! The fleet controller finds a `Cluster` with the Secret that the real provider writes.

use std::{collections::BTreeMap, path::Path, process::Command, time::Duration};

use image_swap_core::{
    control::effective::{Effective, Origin, SecretData},
    status::StoredDeclaration,
};
use image_swap_testbed::{ControlPlane, Port, Process, Wait, until};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::management::{NAMESPACE, apply, output, parts};

const DEADLINE: Duration = Duration::from_mins(2);
const RELEASE: &str = "image-swap";
const FLEET: &str = "image-swap-fleet";

/// Runs the fleet controller until it has contacted the simulated API server of a `Cluster`. That
/// server knows no server-side apply, so the declaration does not arrive.
pub(crate) fn check(plane: &ControlPlane, cluster: &str) {
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
    let status = until("a report about the Cluster", DEADLINE, || {
        fleet.check()?;
        let status = plane.get(&path)?.unwrap_or_default()["status"].clone();
        if condition(&status, "Applied")["reason"] == "Failed" {
            return Ok(status);
        }
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        Err(Wait::NotYet(format!("{status}\n{log}")))
    })
    .unwrap();
    assert_eq!(condition(&status, "Reachable")["status"], "True", "{status:#}");
    let message = condition(&status, "Applied")["message"].to_string();
    assert!(message.contains("415"), "{status:#}");
    fleet.stop().unwrap();
}

/// Returns the condition `kind` of a status; null if it is absent.
fn condition(status: &Value, kind: &str) -> Value {
    let mut all = status["conditions"].as_array().into_iter().flatten();
    all.find(|it| it["type"] == kind).cloned().unwrap_or_default()
}

/// Returns the bundle of workload clusters and the custom resource of the chart.
fn bundle() -> String {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/image-swap");
    let mut helm = Command::new(&parts().helm().unwrap().helm4);
    helm.arg("template").arg(RELEASE).arg(chart).args([
        "--namespace=image-swap",
        "--set=fleet.enabled=true,fleet.namespaces={clusters},image.registry=harbor.example.org",
        "--show-only=templates/fleet/bundle.yaml",
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
