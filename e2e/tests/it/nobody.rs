//! All replicas are gone, on a real node.

use anyhow::Result;
use image_swap_e2e::{DEADLINE, Install, Stage};
use image_swap_testbed::{Error, Wait, until};
use serde_json::Value;

use crate::{NGINX, image};

/// Where an ordinary Deployment is; it has to be there.
pub(crate) const NAMESPACE: &str = "shop";

const SHOP: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop, namespace: shop}
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: main, image: 'nginx:1.25'}]
";

/// A node's own, which names the company's registry itself.
const SYSTEM: &str = r"
apiVersion: v1
kind: Pod
metadata: {name: system, namespace: kube-system}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - name: main
      image: harbor.example.org/airgap-images/docker.io/library/nginx:1.25
";

pub(crate) fn is_left(stage: &Stage) -> Result<()> {
    stage.step("all replicas are gone: an ordinary Deployment's pod waits");
    scale(stage, "0")?;
    let ours =
        "/api/v1/namespaces/default/pods?labelSelector=app.kubernetes.io/component=admission";
    until("the last replica to be gone", DEADLINE, || match items(stage, ours)?.as_slice() {
        [] => Ok(()),
        left => Err(Wait::NotYet(left.len().to_string())),
    })?;
    stage.apply(SHOP)?;
    until("a pod to be refused", DEADLINE, || {
        let events = items(stage, "/api/v1/namespaces/shop/events")?;
        let refused = |event: &Value| {
            let why = event["message"].to_string();
            event["reason"] == "FailedCreate" && why.contains("failed calling webhook")
        };
        let seen = || Wait::NotYet(format!("{events:?}"));
        events.iter().any(refused).then_some(()).ok_or_else(seen)
    })?;

    stage.step("a system pod starts");
    stage.apply(SYSTEM)?;
    stage.wait_pod("kube-system", "system")?;
    stage.kubectl(&["delete", "--namespace=kube-system", "pod", "system"])?;
    assert_eq!(items(stage, "/api/v1/namespaces/shop/pods")?.len(), 0);

    stage.step("replicas are back: what waited starts by itself");
    scale(stage, "2")?;
    let pod = until("the Deployment's pod", DEADLINE, || {
        let mut pods = items(stage, "/api/v1/namespaces/shop/pods")?;
        pods.pop().ok_or_else(|| Wait::NotYet("no pod".into()))
    })?;
    assert_eq!(image(&pod), NGINX);
    stage.wait_pod(NAMESPACE, pod["metadata"]["name"].as_str().unwrap())?;
    stage.kubectl(&["delete", "--namespace=shop", "deployment", "shop"])?;
    stage.wait_ready(&Install::default())?;
    stage.wait_policy(&Install::default(), "Fail")
}

fn scale(stage: &Stage, replicas: &str) -> Result<()> {
    let replicas = format!("--replicas={replicas}");
    stage.kubectl(&["scale", "deployment/image-swap-admission", &replicas])?;
    Ok(())
}

fn items(stage: &Stage, path: &str) -> Result<Vec<Value>, Error> {
    let list = stage.control_plane.get(path)?.unwrap_or_default();
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}
