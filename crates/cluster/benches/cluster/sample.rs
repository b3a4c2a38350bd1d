//! What is created: a pod with five containers.

use serde_json::{Value, json};

/// Seven rules, as on the page.
pub(crate) const RULES: &str = "docker.io::harbor.example.org/airgap-images/docker.io,\
    gcr.io::harbor.example.org/airgap-images/gcr.io,\
    ghcr.io::harbor.example.org/airgap-images/ghcr.io,\
    k8s.gcr.io::harbor.example.org/airgap-images/gcr.io,\
    registry.k8s.io::harbor.example.org/airgap-images/k8s.io,\
    quay.io::harbor.example.org/airgap-images/quay.io,\
    us-east1-docker.pkg.dev::harbor.example.org/airgap-images";

/// The first image as the rules have it.
pub(crate) const SWAPPED: &str = "harbor.example.org/airgap-images/docker.io/library/nginx:1.27";

const IMAGES: [&str; 5] = [
    "nginx:1.27",
    "quay.io/prometheus/node-exporter:v1.8.2",
    "registry.k8s.io/pause:3.9",
    "ghcr.io/example/shop@sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
    "registry.internal.example/team/app:2024.11.22",
];

pub(crate) fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "generateName": "shop-7d9c5b6f4d-",
            "labels": { "app": "shop", "pod-template-hash": "7d9c5b6f4d" },
        },
        "spec": {
            "automountServiceAccountToken": false,
            "containers": IMAGES.iter().enumerate().map(container).collect::<Vec<_>>(),
            "volumes": [{ "name": "config", "configMap": { "name": "shop" } }],
        },
    })
}

fn container((number, image): (usize, &&str)) -> Value {
    let env = (0..6).map(|n| json!({ "name": format!("SETTING_{n}"), "value": format!("{n}") }));
    let probe = json!({ "httpGet": { "path": "/healthz", "port": 8080 } });
    json!({
        "name": format!("container-{number}"),
        "image": image,
        "args": ["--listen=:8080", "--log.level=info", "--config=/etc/shop/config.yaml"],
        "env": env.collect::<Vec<_>>(),
        "ports": [{ "containerPort": 8080 + number }],
        "resources": { "requests": { "cpu": "100m" }, "limits": { "memory": "128Mi" } },
        "volumeMounts": [{ "name": "config", "readOnly": true, "mountPath": "/etc/shop" }],
        "livenessProbe": probe,
        "readinessProbe": probe,
        "securityContext": { "allowPrivilegeEscalation": false, "runAsNonRoot": true },
    })
}

/// The review of that pod, with a `uid` of our choice.
pub(crate) fn review(uid: &str) -> Value {
    let pods = |key: &str, name: &str| json!({ "group": "", "version": "v1", key: name });
    json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": uid,
            "kind": pods("kind", "Pod"), "requestKind": pods("kind", "Pod"),
            "resource": pods("resource", "pods"), "requestResource": pods("resource", "pods"),
            "namespace": "ours",
            "operation": "CREATE",
            "userInfo": { "username": "administrator" },
            "object": pod(),
            "oldObject": null,
            "dryRun": true,
        },
    })
}
