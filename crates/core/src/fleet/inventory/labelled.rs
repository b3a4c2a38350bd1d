//! Labelled Secrets with a kubeconfig, of imported clusters and gateways.

use serde_json::Value;

use super::{
    ClusterSource, OriginObject,
    found::{CredentialForm, CredentialRoute, FoundCluster},
    metadata,
    selector::LabelSelector,
};
use crate::labels::{ENABLED, FLEET_CLUSTER};

/// Reads a Secret, of which the metadata is enough. Returns `None` without the label, for a Secret
/// that `selector` excludes, and for an object without name, namespace or UID.
pub fn found(secret: &Value, selector: &LabelSelector) -> Option<FoundCluster> {
    let labels = metadata::labels(secret);
    let is_enabled = labels.get(FLEET_CLUSTER).is_some_and(|value| value == ENABLED);
    if !is_enabled || !selector.matches(&labels) {
        return None;
    }
    metadata::found(ClusterSource::Kubeconfig, ("v1", "Secret"), secret, || {
        let name = secret["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        CredentialRoute::Secret { name, form: CredentialForm::Labelled }
    })
    .map(|found| FoundCluster {
        // The API version of partial metadata is that of its own kind.
        origin: OriginObject { api_version: "v1".to_owned(), ..found.origin },
        ..found
    })
}
