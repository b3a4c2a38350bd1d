//! `Cluster` objects of Cluster API.

use serde_json::Value;

use super::{
    ClusterSource,
    found::{CredentialForm, CredentialRoute, FoundCluster},
    metadata,
};

/// API group.
pub const GROUP: &str = "cluster.x-k8s.io";
/// Versions that are read, newest first.
pub const VERSIONS: [&str; 2] = ["v1beta2", "v1beta1"];
/// Kind.
pub const KIND: &str = "Cluster";
/// Annotation of a paused object, with any value.
const PAUSED: &str = "cluster.x-k8s.io/paused";
const INITIALIZED: &str = "ControlPlaneInitialized";

/// Reads a `Cluster` of any of [`VERSIONS`]; `None` for an object without name, namespace or UID.
///
/// # Examples
/// ```
/// use image_swap_core::fleet::inventory::cluster_api;
/// use serde_json::json;
///
/// let cluster = json!({
///     "apiVersion": "cluster.x-k8s.io/v1beta2",
///     "kind": "Cluster",
///     "metadata": { "namespace": "clusters", "name": "a", "uid": "1" },
///     "status": { "initialization": { "controlPlaneInitialized": true } },
/// });
/// assert_eq!(cluster_api::found(&cluster).unwrap().secret(), Some("a-kubeconfig"));
/// ```
pub fn found(cluster: &Value) -> Option<FoundCluster> {
    let kind = ("cluster.x-k8s.io/v1beta2", KIND);
    metadata::found(ClusterSource::ClusterApi, kind, cluster, || {
        let name = cluster["metadata"]["name"].as_str().unwrap_or_default();
        let waiting = |reason: &str| CredentialRoute::Waiting(reason.to_owned());
        if cluster["spec"]["paused"] == true
            || cluster["metadata"]["annotations"][PAUSED].is_string()
        {
            return waiting("the Cluster is paused");
        }
        if !is_initialized(&cluster["status"]) {
            return waiting("the control plane is not initialised");
        }
        CredentialRoute::Secret {
            name: format!("{name}-kubeconfig"),
            form: CredentialForm::ClusterApi,
        }
    })
}

/// Returns true if the control plane has answered once. Each version of the API has fields of its
/// own for it, and the conditions of the other one below another name.
fn is_initialized(status: &Value) -> bool {
    let conditions = [
        &status["conditions"],
        &status["v1beta2"]["conditions"],
        &status["deprecated"]["v1beta1"]["conditions"],
    ];
    let mut conditions = conditions.into_iter().filter_map(Value::as_array).flatten();
    status["initialization"]["controlPlaneInitialized"] == true
        || status["controlPlaneReady"] == true
        || conditions.any(|it| it["type"] == INITIALIZED && it["status"] == "True")
}
