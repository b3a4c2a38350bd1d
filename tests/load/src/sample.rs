//! The request of all benchmarks: a review of 11 KB for a pod with five containers.

use serde_json::{Value, json};

/// Map of the documentation, with seven rules.
pub const RULES: &str = "docker.io::harbor.example.org/airgap-images/docker.io,\
    gcr.io::harbor.example.org/airgap-images/gcr.io,\
    ghcr.io::harbor.example.org/airgap-images/ghcr.io,\
    k8s.gcr.io::harbor.example.org/airgap-images/gcr.io,\
    registry.k8s.io::harbor.example.org/airgap-images/k8s.io,\
    quay.io::harbor.example.org/airgap-images/quay.io,\
    us-east1-docker.pkg.dev::harbor.example.org/airgap-images";

/// Value of `uid` in the review.
pub const UID: &str = "6f0d1a4e-5c0f-4a58-9f0a-0c9f6d3f1b7e";

/// Images of the pod.
const IMAGES: [&str; 5] = [
    "nginx:1.27",
    "quay.io/prometheus/node-exporter:v1.8.2",
    "registry.k8s.io/pause:3.9",
    "ghcr.io/example/shop@sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
    "registry.internal.example/team/app:2024.11.22",
];

/// Returns the review of a new pod, in the form that API servers send.
pub fn review() -> Vec<u8> {
    let review = json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": UID,
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "requestKind": {"group": "", "version": "v1", "kind": "Pod"},
            "requestResource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "shop",
            "operation": "CREATE",
            "userInfo": {
                "username": "system:serviceaccount:kube-system:replicaset-controller",
                "groups": ["system:serviceaccounts", "system:authenticated"],
            },
            "object": pod(),
            "oldObject": null,
            "dryRun": false,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
        },
    });
    review.to_string().into_bytes()
}

/// Returns the pod of the review, with all defaults.
pub fn pod() -> Value {
    let containers = IMAGES.iter().enumerate().map(|(number, image)| container(number, image));
    json!({
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "generateName": "shop-7d9c5b6f4d-",
            "namespace": "shop",
            "labels": {"app": "shop", "pod-template-hash": "7d9c5b6f4d"},
            "managedFields": managed_fields(),
        },
        "spec": {
            "containers": containers.collect::<Vec<_>>(),
            "restartPolicy": "Always",
            "serviceAccountName": "shop",
            "tolerations": [{
                "key": "node.kubernetes.io/not-ready",
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": 300,
            }],
        },
        "status": {},
    })
}

/// Returns a container with the index `number`.
fn container(number: usize, image: &str) -> Value {
    let env =
        (0..6).map(|n| json!({"name": format!("SETTING_{n}"), "value": format!("some value {n}")}));
    let probe = json!({
        "httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"},
        "initialDelaySeconds": 5, "timeoutSeconds": 1, "periodSeconds": 10,
        "successThreshold": 1, "failureThreshold": 3,
    });
    json!({
        "name": format!("container-{number}"),
        "image": image,
        "args": ["--listen=:8080", "--log.level=info", "--config=/etc/shop/config.yaml"],
        "env": env.collect::<Vec<_>>(),
        "ports": [{"containerPort": 8080 + number, "protocol": "TCP"}],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
        "volumeMounts": [
            {"name": "config", "readOnly": true, "mountPath": "/etc/shop"},
            {"name": "kube-api-access", "readOnly": true,
             "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"},
        ],
        "livenessProbe": probe,
        "readinessProbe": probe,
        "terminationMessagePath": "/dev/termination-log",
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {"allowPrivilegeEscalation": false, "runAsNonRoot": true},
    })
}

/// Returns managed fields of the usual size.
fn managed_fields() -> Value {
    let container = json!({
        ".": {}, "f:args": {}, "f:env": {".": {}}, "f:image": {}, "f:imagePullPolicy": {},
        "f:livenessProbe": {".": {}, "f:failureThreshold": {}, "f:httpGet": {}},
        "f:name": {}, "f:ports": {}, "f:resources": {}, "f:volumeMounts": {},
    });
    let containers = (0..IMAGES.len())
        .map(|n| (format!("k:{{\"name\":\"container-{n}\"}}"), container.clone()))
        .collect::<serde_json::Map<_, _>>();
    json!([{
        "manager": "kube-controller-manager",
        "operation": "Update",
        "apiVersion": "v1",
        "time": "2024-11-22T09:44:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:metadata": {"f:labels": {".": {}, "f:app": {}}}, "f:spec": {"f:containers": containers}},
    }])
}
