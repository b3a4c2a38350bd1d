//! Labelled Secrets: with a kubeconfig, of imported clusters and gateways, or with the declaration of
//! a cluster that pulls.

use serde_json::Value;

use super::{
    ClusterSource, OriginObject,
    found::{CredentialForm, CredentialRoute, FoundCluster},
    metadata,
    selector::LabelSelector,
};
use crate::{
    fleet::pull::{DECLARATION, PullNames},
    labels::{ENABLED, FLEET_CLUSTER, PULL},
};

/// Reads a Secret, of which the metadata is enough. Returns `None` without the label, for a Secret
/// that `selector` excludes, and for an object without name, namespace or UID.
pub fn found(secret: &Value, selector: &LabelSelector) -> Option<FoundCluster> {
    let labels = metadata::labels(secret);
    let source = match labels.get(FLEET_CLUSTER).map(String::as_str) {
        Some(ENABLED) => ClusterSource::Kubeconfig,
        Some(PULL) => ClusterSource::Pull,
        _ => return None,
    };
    if !selector.matches(&labels) {
        return None;
    }
    let text = |key: &str| secret["metadata"][key].as_str().unwrap_or_default();
    metadata::found(source, ("v1", "Secret"), secret, || match source {
        ClusterSource::Pull if PullNames::of_secret(text("namespace"), text("name")).is_some() => {
            CredentialRoute::Pulls
        }
        ClusterSource::Pull => CredentialRoute::Refused(format!(
            "expected the name NAME{DECLARATION} for a Secret with the label {FLEET_CLUSTER}={PULL}; \
             enroll the cluster again"
        )),
        _ => {
            CredentialRoute::Secret { name: text("name").to_owned(), form: CredentialForm::Labelled }
        }
    })
    .map(|found| FoundCluster {
        // The API version of partial metadata is that of its own kind.
        origin: OriginObject { api_version: "v1".to_owned(), ..found.origin },
        ..found
    })
}
