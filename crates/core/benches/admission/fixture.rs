//! A review in the form of an API server: eleven kilobytes, five containers.

use image_swap_core::rule::{
    RuleSet,
    parse::{self, MapForm},
};
use serde_json::{Map, Value, json};

/// Number of containers in the pod, each with an image that the rules swap.
pub(crate) const CONTAINERS: usize = 5;

const IMAGES: [(&str, &str); CONTAINERS] = [
    ("migrate", "ghcr.io/shop/migrate:1.4.2"),
    (
        "checkout",
        "gcr.io/shop/checkout@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    ),
    ("metrics", "quay.io/prometheus/statsd-exporter:v0.26.0"),
    ("cache", "redis:7.2"),
    ("proxy", "docker.io/envoyproxy/envoy:v1.30.1"),
];

/// Returns the creation of a pod by a controller.
pub(crate) fn create_review() -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&review("CREATE", &pod(&IMAGES), &Value::Null))
}

/// Returns an update that changes one image.
pub(crate) fn update_review() -> serde_json::Result<Vec<u8>> {
    let mut images = IMAGES;
    images[3].1 = "redis:7.4";
    serde_json::to_vec(&review("UPDATE", &pod(&images), &pod(&IMAGES)))
}

/// Returns `count` rules; the first seven cover the pod's images.
pub(crate) fn rules(count: usize) -> RuleSet {
    let hosts = ["docker.io", "gcr.io", "ghcr.io", "quay.io", "k8s.gcr.io", "mcr.microsoft.com"];
    let named = hosts.map(str::to_owned).into_iter();
    let numbered = (hosts.len()..).map(|number| format!("registry-{number}.example.com"));
    let rules: Vec<String> = named
        .chain(numbered)
        .take(count)
        .map(|host| format!("{host}::harbor.example.org/airgap-images/{host}"))
        .collect();
    RuleSet::new(parse::rules(&rules.join(","), MapForm::List).0)
}

fn review(operation: &str, object: &Value, old_object: &Value) -> Value {
    let kind = json!({"group": "", "version": "v1", "kind": "Pod"});
    let resource = json!({"group": "", "version": "v1", "resource": "pods"});
    json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": kind,
            "resource": resource,
            "requestKind": kind,
            "requestResource": resource,
            "namespace": "shop",
            "operation": operation,
            "userInfo": {
                "username": "system:serviceaccount:kube-system:replicaset-controller",
                "uid": "2b1c6d9e-5d52-4f3e-9b0c-1f2a3b4c5d6e",
                "groups": [
                    "system:serviceaccounts",
                    "system:serviceaccounts:kube-system",
                    "system:authenticated"
                ],
                "extra": {"authentication.kubernetes.io/credential-id": ["JTI=0a1b2c3d"]}
            },
            "object": object,
            "oldObject": old_object,
            "dryRun": false,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"}
        }
    })
}

fn pod(images: &[(&str, &str); CONTAINERS]) -> Value {
    let (init, main) = images.split_at(1);
    let containers = |images: &[(&str, &str)]| -> Vec<Value> {
        images.iter().map(|(name, image)| container(name, image)).collect()
    };
    json!({
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "generateName": "checkout-6d5f8c7b9d-",
            "namespace": "shop",
            "creationTimestamp": null,
            "labels": {
                "app.kubernetes.io/name": "checkout",
                "app.kubernetes.io/part-of": "shop",
                "pod-template-hash": "6d5f8c7b9d"
            },
            "annotations": {
                "checksum/config": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                "kubectl.kubernetes.io/restartedAt": "2026-11-12T10:00:00Z",
                "prometheus.io/port": "8080",
                "prometheus.io/scrape": "true"
            },
            "ownerReferences": [{
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "name": "checkout-6d5f8c7b9d",
                "uid": "5e0a7f0c-9df2-4ad8-8a2f-6c3f1f0b7a11",
                "controller": true,
                "blockOwnerDeletion": true
            }],
            "managedFields": [managed_fields(&["checkout", "metrics"])]
        },
        "spec": {
            "volumes": [
                {"name": "config", "configMap": {"name": "checkout", "defaultMode": 420}},
                {"name": "tmp", "emptyDir": {}},
                {"name": "kube-api-access-x7k2p", "projected": {
                    "sources": [
                        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                        {"configMap": {
                            "name": "kube-root-ca.crt",
                            "items": [{"key": "ca.crt", "path": "ca.crt"}]
                        }}
                    ],
                    "defaultMode": 420
                }}
            ],
            "initContainers": containers(init),
            "containers": containers(main),
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "checkout",
            "securityContext": {"runAsUser": 1000, "fsGroup": 1000},
            "schedulerName": "default-scheduler",
            "tolerations": [toleration("not-ready"), toleration("unreachable")],
            "priority": 0,
            "enableServiceLinks": true,
            "preemptionPolicy": "PreemptLowerPriority"
        },
        "status": {}
    })
}

fn toleration(condition: &str) -> Value {
    json!({
        "key": format!("node.kubernetes.io/{condition}"),
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": 300
    })
}

fn container(name: &str, image: &str) -> Value {
    let probe = |path: &str| {
        json!({
            "httpGet": {"path": path, "port": "http", "scheme": "HTTP"},
            "timeoutSeconds": 1,
            "periodSeconds": 10,
            "successThreshold": 1,
            "failureThreshold": 3
        })
    };
    json!({
        "name": name,
        "image": image,
        "args": ["--config=/etc/config/settings.yaml", "--log-level=info", "--listen=:8080"],
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        "env": [
            {"name": "GOMEMLIMIT", "value": "460MiB"},
            {"name": "POD_NAME", "valueFrom": {
                "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}
            }},
            {"name": "DATABASE_URL", "valueFrom": {
                "secretKeyRef": {"name": "database", "key": "url"}
            }}
        ],
        "resources": {
            "limits": {"memory": "512Mi"},
            "requests": {"cpu": "100m", "memory": "256Mi"}
        },
        "volumeMounts": [
            {"name": "config", "readOnly": true, "mountPath": "/etc/config"},
            {
                "name": "kube-api-access-x7k2p",
                "readOnly": true,
                "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"
            }
        ],
        "livenessProbe": probe("/healthz"),
        "readinessProbe": probe("/readyz"),
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": true,
            "readOnlyRootFilesystem": true,
            "allowPrivilegeEscalation": false
        }
    })
}

fn managed_fields(containers: &[&str]) -> Value {
    let container = json!({
        ".": {},
        "f:args": {},
        "f:env": {
            ".": {},
            "k:{\"name\":\"GOMEMLIMIT\"}": {".": {}, "f:name": {}, "f:value": {}},
            "k:{\"name\":\"POD_NAME\"}": {
                ".": {},
                "f:name": {},
                "f:valueFrom": {".": {}, "f:fieldRef": {}}
            }
        },
        "f:image": {},
        "f:imagePullPolicy": {},
        "f:livenessProbe": {
            ".": {},
            "f:failureThreshold": {},
            "f:httpGet": {".": {}, "f:path": {}, "f:port": {}, "f:scheme": {}},
            "f:periodSeconds": {},
            "f:successThreshold": {},
            "f:timeoutSeconds": {}
        },
        "f:name": {},
        "f:resources": {
            ".": {},
            "f:limits": {".": {}, "f:memory": {}},
            "f:requests": {".": {}, "f:cpu": {}, "f:memory": {}}
        },
        "f:terminationMessagePath": {},
        "f:terminationMessagePolicy": {},
        "f:volumeMounts": {
            ".": {},
            "k:{\"mountPath\":\"/etc/config\"}": {
                ".": {},
                "f:mountPath": {},
                "f:name": {},
                "f:readOnly": {}
            }
        }
    });
    let containers: Map<String, Value> = containers
        .iter()
        .map(|name| (format!("k:{{\"name\":\"{name}\"}}"), container.clone()))
        .collect();
    json!({
        "manager": "kube-controller-manager",
        "operation": "Update",
        "apiVersion": "v1",
        "time": "2026-11-12T10:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": {
            "f:metadata": {
                "f:annotations": {".": {}, "f:checksum/config": {}, "f:prometheus.io/port": {}},
                "f:generateName": {},
                "f:labels": {".": {}, "f:app.kubernetes.io/name": {}, "f:pod-template-hash": {}},
                "f:ownerReferences": {
                    ".": {},
                    "k:{\"uid\":\"5e0a7f0c-9df2-4ad8-8a2f-6c3f1f0b7a11\"}": {}
                }
            },
            "f:spec": {
                "f:containers": containers,
                "f:dnsPolicy": {},
                "f:enableServiceLinks": {},
                "f:restartPolicy": {},
                "f:schedulerName": {},
                "f:securityContext": {".": {}, "f:fsGroup": {}, "f:runAsUser": {}},
                "f:serviceAccountName": {},
                "f:terminationGracePeriodSeconds": {},
                "f:volumes": {".": {}, "k:{\"name\":\"config\"}": {".": {}, "f:configMap": {}}}
            }
        }
    })
}
