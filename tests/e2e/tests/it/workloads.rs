//! Workloads beside the release.

use anyhow::Result;
use image_swap_e2e::{DEADLINE, HelmCluster, pod};
use image_swap_testbed::{Error, Wait, until};
use serde_json::Value;

use crate::NGINX;

/// Creates a Deployment of one pod of `nginx:1.25`.
pub(crate) fn deploy(cluster: &HelmCluster, namespace: &str, name: &str) -> Result<()> {
    let manifest = format!(
        r"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{{name: main, image: 'nginx:1.25'}}]
"
    );
    cluster.apply(&manifest).map(drop)
}

/// Creates a pod whose manifest has the company's registry already. `more` is a mapping
/// of other fields of its `spec`.
pub(crate) fn run_mirrored(
    cluster: &HelmCluster,
    namespace: &str,
    name: &str,
    more: Value,
) -> Result<()> {
    let mut pod = pod(name, NGINX);
    pod["metadata"]["namespace"] = namespace.into();
    if let (Some(spec), Value::Object(more)) = (pod["spec"].as_object_mut(), more) {
        spec.extend(more);
    }
    cluster.apply(&pod.to_string()).map(drop)
}

/// Waits until the API server has refused a pod of a Deployment in `namespace` because
/// the webhook gives no answer.
pub(crate) fn wait_refused(cluster: &HelmCluster, namespace: &str) -> Result<()> {
    until("a pod to be refused", DEADLINE, || {
        let events = items(cluster, &format!("/api/v1/namespaces/{namespace}/events"))?;
        let failures = events.iter().filter(|event| event["reason"] == "FailedCreate");
        let messages: Vec<String> = failures.map(|event| event["message"].to_string()).collect();
        let is_refusal = |message: &String| message.contains("failed calling webhook");
        if messages.iter().any(is_refusal) {
            Ok(())
        } else {
            Err(Wait::NotYet(format!("{messages:?}")))
        }
    })?;
    Ok(())
}

/// Returns the objects of a list.
pub(crate) fn items(cluster: &HelmCluster, path: &str) -> Result<Vec<Value>, Error> {
    let list = cluster.control_plane.get(path)?.unwrap_or_default();
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

/// Returns the pods of a list that are not being deleted: the kubelet takes some time to
/// end one.
pub(crate) fn pods(cluster: &HelmCluster, path: &str) -> Result<Vec<Value>, Error> {
    let mut pods = items(cluster, path)?;
    pods.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    Ok(pods)
}
