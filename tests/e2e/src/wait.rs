//! Waits for events.

use anyhow::{Context, Result, bail};
use image_swap_testbed::{Error, Wait, is_ready, until};
use serde_json::{Value, json};

use crate::{DEADLINE, helm_cluster::HelmCluster, release::Install};

impl HelmCluster {
    /// Waits until both Deployments of a release have all replicas of their last
    /// specification.
    ///
    /// # Errors
    /// The deadline has passed; the error has the last state.
    pub fn wait_ready(&self, install: &Install<'_>) -> Result<()> {
        for component in ["admission", "controller"] {
            let (namespace, name) = (install.namespace, format!("{}-{component}", install.release));
            let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments/{name}");
            until(&format!("the Deployment {name}"), DEADLINE, || {
                let found = self.look(&path)?;
                let (wanted, status) = (&found["spec"]["replicas"], &found["status"]);
                let counts = ["replicas", "updatedReplicas", "availableReplicas"];
                let complete = counts.iter().all(|count| status[*count] == *wanted);
                let seen = found["metadata"]["generation"] == status["observedGeneration"];
                if complete && seen { Ok(()) } else { Err(self.pods_in(namespace, status)) }
            })?;
        }
        Ok(())
    }

    /// Waits until the registration has the failure policy `policy` for ordinary pods:
    /// `Fail` or `Ignore`.
    ///
    /// # Errors
    /// The deadline has passed; the error has the last state.
    pub fn wait_policy(&self, install: &Install<'_>, policy: &str) -> Result<()> {
        until(&format!("the policy {policy}"), DEADLINE, || {
            let registered = self.look(&registration(install.release))?;
            let entries = registered["webhooks"].as_array().cloned().unwrap_or_default();
            // The entry of the controller's own probe has another policy.
            let mut ordinary = entries.iter().filter(|it| it["name"] == "pods.image-swap.io");
            let held = ordinary.any(|entry| entry["failurePolicy"] == policy);
            if held { Ok(()) } else { Err(Wait::NotYet(json!(entries).to_string())) }
        })?;
        Ok(())
    }

    /// Returns the image that a new pod of `image` would be stored with, in the namespace
    /// `default`. It is a dry run: nothing is stored.
    ///
    /// # Errors
    /// The API server refuses the pod.
    pub fn swapped(&self, image: &str) -> Result<String> {
        let pods = "/api/v1/namespaces/default/pods?dryRun=All";
        let stored = self.control_plane.create(pods, &pod("swapped", image))?;
        Ok(stored["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned())
    }

    /// Waits until a new pod of `image` would be stored with the image `wanted`.
    ///
    /// # Errors
    /// The deadline has passed; the error has the last image.
    pub fn wait_swapped(&self, image: &str, wanted: &str) -> Result<()> {
        until(&format!("{image} to become {wanted}"), DEADLINE, || match self.swapped(image) {
            Ok(found) if found == wanted => Ok(()),
            Ok(found) => Err(Wait::NotYet(found)),
            Err(error) => Err(Wait::NotYet(format!("{error:#}"))),
        })?;
        Ok(())
    }

    /// Waits until the pod is `Ready`, and returns it.
    ///
    /// # Errors
    /// The deadline has passed; the error has the last state.
    pub fn wait_pod(&self, namespace: &str, name: &str) -> Result<Value> {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
        Ok(until(&format!("the pod {name}"), DEADLINE, || {
            let pod = self.look(&path)?;
            if is_ready(&pod) { Ok(pod) } else { Err(Wait::NotYet(pod["status"].to_string())) }
        })?)
    }

    /// Ends the first container of a pod in `default`, and waits until the kubelet has
    /// started it again. Returns the pod.
    ///
    /// # Errors
    /// The image cannot be pulled, or the deadline has passed.
    pub fn restart_container(&self, name: &str) -> Result<Value> {
        let status = |pod: &Value| pod["status"]["containerStatuses"][0].clone();
        let path = format!("/api/v1/namespaces/default/pods/{name}");
        let before = status(&self.control_plane.get(&path)?.context("expected the pod")?);
        let id = before["containerID"].as_str().and_then(|id| id.split("://").nth(1));
        let id = id.with_context(|| format!("expected a container, found {before}"))?;
        let mut stop = self.node.crictl();
        let output = stop.args(["stop", "--timeout=0", id]).output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "crictl stop: {error}");
        let restarted = until(&format!("the container of {name}"), DEADLINE, || {
            let pod = self.look(&path)?;
            let now = status(&pod);
            let waits = now["state"]["waiting"]["reason"].as_str().unwrap_or_default();
            if waits.contains("ImagePull") {
                return Ok(Err(now["state"]["waiting"].to_string()));
            }
            let is_another = now["restartCount"] != before["restartCount"];
            if is_another && is_ready(&pod) {
                Ok(Ok(pod))
            } else {
                Err(Wait::NotYet(now.to_string()))
            }
        })?;
        restarted.or_else(|reason| bail!("{reason}"))
    }

    /// Reads `path`. A missing answer and a missing object may both be temporary.
    pub(crate) fn look(&self, path: &str) -> Result<Value, Wait> {
        match self.control_plane.get(path) {
            Ok(Some(found)) => Ok(found),
            Ok(None) => Err(Wait::NotYet(format!("nothing at {path}"))),
            Err(error @ Error::Unavailable(_)) => Err(Wait::Failed(error)),
            Err(error) => Err(Wait::NotYet(error.to_string())),
        }
    }

    /// Describes the pods of a Deployment that is not ready.
    fn pods_in(&self, namespace: &str, status: &Value) -> Wait {
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        let pods = self.control_plane.get(&path).ok().flatten().unwrap_or_default();
        let items = pods["items"].as_array().cloned().unwrap_or_default();
        let pods = items.iter().map(|pod| {
            format!("{}: {}", pod["metadata"]["name"], pod["status"]["containerStatuses"])
        });
        Wait::NotYet(format!("{status}; pods: {}", pods.collect::<Vec<_>>().join("; ")))
    }
}

/// Returns the path of a release's registration.
pub(crate) fn registration(release: &str) -> String {
    let kind = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
    format!("{kind}/{release}-admission")
}

/// Returns a pod of one container that ends without a grace period.
pub fn pod(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name },
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{ "name": "main", "image": image }],
        },
    })
}
