//! Objects of the Kubernetes API.

use serde_json::{Value, json};

/// Value of `uid` in each review.
pub const UID: &str = "705ab4f5-6393-11e8-b7cc-42010a800002";

/// Returns a container with a name and an image.
pub fn container(name: &str, image: &str) -> Value {
    json!({ "name": name, "image": image })
}

/// Returns a pod with one container for each pair of name and image.
pub fn pod(name: &str, containers: &[(&str, &str)]) -> Value {
    let containers = containers.iter().map(|(name, image)| container(name, image));
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name },
        "spec": { "containers": containers.collect::<Vec<_>>() },
    })
}

/// Returns the definition of a custom resource with any fields. The last of `versions` is stored.
pub fn custom_resource(group: &str, kind: &str, versions: &[&str]) -> Value {
    let singular = kind.to_lowercase();
    let plural = format!("{singular}s");
    let version = |name: &&str| {
        json!({
            "name": name, "served": true, "storage": versions.last() == Some(name),
            "schema": { "openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            } },
        })
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.{group}"),
            // The API server demands it for a group of Kubernetes.
            "annotations": { "api-approved.kubernetes.io": "unapproved, for tests" },
        },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {
                "kind": kind, "plural": plural, "singular": singular,
                "listKind": format!("{kind}List"),
            },
            "versions": versions.iter().map(version).collect::<Vec<_>>(),
        },
    })
}

/// Returns the `NodeMirror` of the Node `name` with the UID `uid`, as the controller creates it,
/// without its owner.
pub fn node_mirror(name: &str, uid: impl Into<Value>, runtime: &str) -> Value {
    json!({
        "apiVersion": "image-swap.io/v1alpha1",
        "kind": "NodeMirror",
        "metadata": { "name": name },
        "spec": { "nodeUid": uid.into(), "containerRuntimeVersion": runtime },
    })
}

/// Returns a review of a pod in the namespace `shop`. `operation` is that of the request,
/// such as `CREATE`. `old_object` is null for a new pod.
pub fn review(operation: &str, object: &Value, old_object: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": UID,
            "kind": { "group": "", "version": "v1", "kind": "Pod" },
            "resource": { "group": "", "version": "v1", "resource": "pods" },
            "requestKind": { "group": "", "version": "v1", "kind": "Pod" },
            "name": "web",
            "namespace": "shop",
            "operation": operation,
            "userInfo": { "username": "admin" },
            "object": object,
            "oldObject": old_object,
            "dryRun": false,
            "options": null,
        },
    })
}

/// Returns the webhook configuration of twr.io's imageswap for a Service. Its rule matches new
/// pods of the API group `group` and its version `version`.
pub fn webhook_configuration(namespace: &str, service: &str, group: &str, version: &str) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": { "name": "imageswap-webhook" },
        "webhooks": [{
            "name": "imageswap.webhook.k8s.twr.io",
            "admissionReviewVersions": ["v1"],
            "clientConfig": { "service": { "namespace": namespace, "name": service } },
            "failurePolicy": "Ignore",
            "rules": [{
                "apiGroups": [group],
                "apiVersions": [version],
                "operations": ["CREATE"],
                "resources": ["pods"],
            }],
            "sideEffects": "None",
        }],
    })
}
