//! Events to wait for.

use anyhow::Result;
use image_swap_testbed::{Error, Wait, until};
use serde_json::{Value, json};

use crate::{DEADLINE, release::Install, stage::Stage};

impl Stage {
    /// Waits until both Deployments of a release have what they want, of what was
    /// asked for last.
    ///
    /// # Errors
    /// What is there instead after the deadline.
    pub fn wait_ready(&self, install: &Install<'_>) -> Result<()> {
        for component in ["admission", "controller"] {
            let (namespace, name) = (install.namespace, format!("{}-{component}", install.release));
            let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments/{name}");
            until(&format!("the Deployment {name}"), DEADLINE, || {
                let found = self.look(&path)?;
                let (wanted, status) = (&found["spec"]["replicas"], &found["status"]);
                let counts = ["replicas", "updatedReplicas", "availableReplicas"];
                let whole = counts.iter().all(|count| status[*count] == *wanted);
                let seen = found["metadata"]["generation"] == status["observedGeneration"];
                if whole && seen { Ok(()) } else { Err(self.pods_in(namespace, status)) }
            })?;
        }
        Ok(())
    }

    /// Waits until ordinary pods that nobody reviews are handled by `policy`,
    /// `Fail` or `Ignore`.
    ///
    /// # Errors
    /// What is there instead after the deadline.
    pub fn wait_policy(&self, install: &Install<'_>, policy: &str) -> Result<()> {
        until(&format!("the policy {policy}"), DEADLINE, || {
            let registered = self.look(&registration(install.release))?;
            let entries = registered["webhooks"].as_array().cloned().unwrap_or_default();
            let held = entries.iter().any(|entry| entry["failurePolicy"] == policy);
            if held { Ok(()) } else { Err(Wait::NotYet(json!(entries).to_string())) }
        })?;
        Ok(())
    }

    /// What `image` becomes in a new pod of the namespace `default`: by a dry
    /// run, so that nothing is stored.
    ///
    /// # Errors
    /// The API server refused the pod.
    pub fn swapped(&self, image: &str) -> Result<String> {
        let pods = "/api/v1/namespaces/default/pods?dryRun=All";
        let stored = self.control_plane.create(pods, &pod("swapped", image))?;
        Ok(stored["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned())
    }

    /// Waits until `image` becomes `wanted` in a new pod.
    ///
    /// # Errors
    /// What it becomes instead after the deadline.
    pub fn wait_swapped(&self, image: &str, wanted: &str) -> Result<()> {
        until(&format!("{image} to become {wanted}"), DEADLINE, || match self.swapped(image) {
            Ok(found) if found == wanted => Ok(()),
            Ok(found) => Err(Wait::NotYet(found)),
            Err(error) => Err(Wait::NotYet(format!("{error:#}"))),
        })?;
        Ok(())
    }

    /// Waits until the pod is `Ready`; the pod.
    ///
    /// # Errors
    /// How it is instead after the deadline.
    pub fn wait_pod(&self, namespace: &str, name: &str) -> Result<Value> {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
        Ok(until(&format!("the pod {name}"), DEADLINE, || {
            let pod = self.look(&path)?;
            let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let ready = conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True");
            if ready { Ok(pod) } else { Err(Wait::NotYet(pod["status"].to_string())) }
        })?)
    }

    /// Looks at `path`; that there is no answer, or no such object, may be only now.
    pub(crate) fn look(&self, path: &str) -> Result<Value, Wait> {
        match self.control_plane.get(path) {
            Ok(Some(found)) => Ok(found),
            Ok(None) => Err(Wait::NotYet(format!("nothing at {path}"))),
            Err(error @ Error::Unavailable(_)) => Err(Wait::InVain(error)),
            Err(error) => Err(Wait::NotYet(error.to_string())),
        }
    }

    /// What helps to understand a Deployment that does not come up.
    fn pods_in(&self, namespace: &str, status: &Value) -> Wait {
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        let pods = self.control_plane.get(&path).ok().flatten().unwrap_or_default();
        let items = pods["items"].as_array().cloned().unwrap_or_default();
        let told = items.iter().map(|pod| {
            format!("{}: {}", pod["metadata"]["name"], pod["status"]["containerStatuses"])
        });
        Wait::NotYet(format!("{status}; pods: {}", told.collect::<Vec<_>>().join("; ")))
    }
}

/// Where the registration of a release is.
pub(crate) fn registration(release: &str) -> String {
    let kind = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
    format!("{kind}/{release}-admission")
}

/// A pod of one container that ends at once when told to.
pub(crate) fn pod(name: &str, image: &str) -> Value {
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
