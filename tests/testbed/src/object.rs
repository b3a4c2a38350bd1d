//! Facts that tests read from Kubernetes objects.

use serde_json::Value;

/// Returns true if the status condition `Ready` of a pod or node is `True`.
pub fn is_ready(object: &Value) -> bool {
    let mut conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}
