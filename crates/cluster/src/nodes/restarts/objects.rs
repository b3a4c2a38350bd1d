//! Restart pods and their Leases.
//!
//! `charts/image-swap/templates/agent` has an admission policy that compares each field of a
//! restart pod: a change here needs one there.

use image_swap_core::labels;
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::MicroTime, jiff::Timestamp};
use serde_json::{Value, json};

use crate::{
    nodes::{names::named_for, orders::NodeRestartSettings},
    release::Release,
    secret,
};

/// Time after which a restart counts as lost, in seconds.
const LIMIT: u64 = 900;
/// Prefix of the names of pods and Leases, and name of the container.
const RESTART: &str = "restart";

/// Returns the name of the Lease of `node`.
pub(super) fn lease_name(node: &str) -> String {
    named_for(RESTART, node)
}

/// Returns the name of the pod that restarts the runtime of `node` for the declaration `number`.
pub(super) fn pod_name(node: &str, number: u64) -> String {
    named_for(&format!("{RESTART}-{number}"), node)
}

/// Returns the Lease of `node` for a restart that begins `at` this time.
pub(super) fn lease_object(release: &Release, node: &str, number: u64, at: Timestamp) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": lease_name(node),
            "labels": secret::labels(release),
            "annotations": { labels::RESTART: number.to_string() },
        },
        "spec": {
            "holderIdentity": node,
            "acquireTime": MicroTime(at),
            "leaseDurationSeconds": LIMIT,
        },
    })
}

/// Returns the pod that restarts the runtime of `node` for the declaration `number`.
pub(super) fn pod_object(
    release: &Release,
    settings: &NodeRestartSettings,
    node: &str,
    number: u64,
) -> Value {
    let mut labels = secret::labels(release);
    labels[labels::APP_COMPONENT] = labels::RESTART_COMPONENT.into();
    labels[labels::EXEMPT] = "true".into();
    let mut args = vec![
        "node".to_owned(),
        "restart-pod".to_owned(),
        "--root=/host".to_owned(),
        format!("--number={number}"),
    ];
    args.extend(settings.command.as_ref().map(|command| format!("--restart-command={command}")));
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod_name(node, number),
            "labels": labels,
            "annotations": { labels::RESTART: number.to_string() },
        },
        "spec": {
            "nodeName": node,
            "hostPID": true,
            "hostNetwork": true,
            "dnsPolicy": "Default",
            "restartPolicy": "Never",
            "activeDeadlineSeconds": LIMIT,
            "tolerations": [{ "operator": "Exists" }],
            "priorityClassName": "system-node-critical",
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": 5,
            "securityContext": {
                "runAsUser": 0,
                "runAsGroup": 0,
                "seLinuxOptions": { "type": "spc_t" },
            },
            "containers": [{
                "name": RESTART,
                "image": settings.image,
                "imagePullPolicy": "IfNotPresent",
                "args": args,
                "securityContext": { "privileged": true, "readOnlyRootFilesystem": true },
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "volumeMounts": [{
                    "name": "host", "mountPath": "/host", "mountPropagation": "HostToContainer",
                }],
            }],
            "volumes": [{ "name": "host", "hostPath": { "path": "/", "type": "Directory" } }],
        },
    });
    if !settings.pull_secrets.is_empty() {
        let secrets = settings.pull_secrets.iter().map(|name| json!({ "name": name }));
        pod["spec"]["imagePullSecrets"] = secrets.collect();
    }
    pod
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release() -> Release {
        Release { namespace: "tools".into(), name: "image-swap".into() }
    }

    /// Spells out the pod, which the admission policy of the chart compares.
    #[test]
    fn every_field_of_the_pod_is_kept() {
        let mut settings = NodeRestartSettings {
            namespace: "image-swap-restart".into(),
            image: "registry.example.org/image-swap:1".into(),
            pull_secrets: vec!["a".into(), "b".into()],
            max_unavailable: 1,
            command: Some("rc-service containerd restart".into()),
        };
        let mut expected = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "restart-7-node-1",
                "labels": {
                    "app.kubernetes.io/name": "image-swap",
                    "app.kubernetes.io/managed-by": "image-swap",
                    "app.kubernetes.io/component": "restart",
                    "image-swap.io/release": "image-swap",
                    "image-swap.io/exempt": "true",
                },
                "annotations": { "image-swap.io/restart": "7" },
            },
            "spec": {
                "nodeName": "node-1",
                "hostPID": true,
                "hostNetwork": true,
                "dnsPolicy": "Default",
                "restartPolicy": "Never",
                "activeDeadlineSeconds": 900,
                "tolerations": [{ "operator": "Exists" }],
                "priorityClassName": "system-node-critical",
                "automountServiceAccountToken": false,
                "enableServiceLinks": false,
                "terminationGracePeriodSeconds": 5,
                "imagePullSecrets": [{ "name": "a" }, { "name": "b" }],
                "securityContext": {
                    "runAsUser": 0, "runAsGroup": 0, "seLinuxOptions": { "type": "spc_t" },
                },
                "containers": [{
                    "name": "restart",
                    "image": "registry.example.org/image-swap:1",
                    "imagePullPolicy": "IfNotPresent",
                    "args": [
                        "node", "restart-pod", "--root=/host", "--number=7",
                        "--restart-command=rc-service containerd restart",
                    ],
                    "securityContext": { "privileged": true, "readOnlyRootFilesystem": true },
                    "terminationMessagePolicy": "FallbackToLogsOnError",
                    "volumeMounts": [{
                        "name": "host", "mountPath": "/host",
                        "mountPropagation": "HostToContainer",
                    }],
                }],
                "volumes": [{ "name": "host", "hostPath": { "path": "/", "type": "Directory" } }],
            },
        });
        assert_eq!(pod_object(&release(), &settings, "node-1", 7), expected);
        (settings.pull_secrets, settings.command) = (Vec::new(), None);
        expected["spec"].as_object_mut().unwrap().remove("imagePullSecrets");
        let args = &mut expected["spec"]["containers"][0]["args"];
        args.as_array_mut().unwrap().pop();
        assert_eq!(pod_object(&release(), &settings, "node-1", 7), expected);
    }

    #[test]
    fn every_field_of_the_lease_is_kept() {
        let at = Timestamp::from_second(60).unwrap();
        let expected = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": "restart-node-1",
                "labels": {
                    "app.kubernetes.io/name": "image-swap",
                    "app.kubernetes.io/managed-by": "image-swap",
                    "image-swap.io/release": "image-swap",
                },
                "annotations": { "image-swap.io/restart": "7" },
            },
            "spec": {
                "holderIdentity": "node-1",
                "acquireTime": "1970-01-01T00:01:00.000000Z",
                "leaseDurationSeconds": 900,
            },
        });
        assert_eq!(lease_object(&release(), "node-1", 7, at), expected);
    }
}
