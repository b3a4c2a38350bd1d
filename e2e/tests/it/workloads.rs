//! What people run on a cluster besides us, and what becomes of it.

use anyhow::Result;
use image_swap_e2e::{DEADLINE, Stage};
use image_swap_testbed::{Error, Wait, until};
use serde_json::Value;

/// A Deployment of one pod of `nginx:1.25`.
pub(crate) fn ordinary(stage: &Stage, namespace: &str, name: &str) -> Result<()> {
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
    stage.apply(&manifest).map(drop)
}

/// A pod that names the company's registry itself.
pub(crate) fn mirrored(stage: &Stage, namespace: &str, name: &str) -> Result<()> {
    let manifest = format!(
        r"
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - name: main
      image: harbor.example.org/airgap-images/docker.io/library/nginx:1.25
"
    );
    stage.apply(&manifest).map(drop)
}

/// Waits until a pod of a Deployment in `namespace` was refused because nobody
/// reviews it.
pub(crate) fn wait_refused(stage: &Stage, namespace: &str) -> Result<()> {
    until("a pod to be refused", DEADLINE, || {
        let events = items(stage, &format!("/api/v1/namespaces/{namespace}/events"))?;
        let refused = |event: &Value| {
            let why = event["message"].to_string();
            event["reason"] == "FailedCreate" && why.contains("failed calling webhook")
        };
        let seen = || Wait::NotYet(format!("{events:?}"));
        events.iter().any(refused).then_some(()).ok_or_else(seen)
    })?;
    Ok(())
}

/// The objects of a list.
pub(crate) fn items(stage: &Stage, path: &str) -> Result<Vec<Value>, Error> {
    let list = stage.control_plane.get(path)?.unwrap_or_default();
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

/// The pods of a list, but those that are going: a kubelet takes its time.
pub(crate) fn pods(stage: &Stage, path: &str) -> Result<Vec<Value>, Error> {
    let mut pods = items(stage, path)?;
    pods.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    Ok(pods)
}
