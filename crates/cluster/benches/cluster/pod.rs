//! The pod that the benchmarks create.

use image_swap_load::sample;
use serde_json::{Value, json};

/// The first image before and after the rules.
pub(crate) const IMAGE: &str = "nginx:1.27";
pub(crate) const SWAPPED: &str = "harbor.example.org/airgap-images/docker.io/library/nginx:1.27";

/// Returns the pod of the sample as a client creates it.
pub(crate) fn pod() -> Value {
    let mut pod = sample::pod();
    if let Some(metadata) = pod["metadata"].as_object_mut() {
        metadata.remove("namespace");
        metadata.remove("managedFields");
    }
    pod["spec"]["automountServiceAccountToken"] = false.into();
    pod["spec"]["volumes"] = json!([
        { "name": "config", "configMap": { "name": "shop" } },
        { "name": "kube-api-access", "emptyDir": {} },
    ]);
    pod
}
