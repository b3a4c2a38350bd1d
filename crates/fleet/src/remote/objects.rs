//! Objects of a workload cluster, as far as they are read.

use hyper::Method;
use image_swap_cluster::api::MANAGER;
use image_swap_core::{
    fleet::bundle::{BundleObject, BundlePhase, FLEET_MANAGER},
    labels::IMAGE_SWAP,
    status::RESTORE,
};
use image_swap_text::base64;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};

use super::{
    client::{APPLY, JSON, METADATA, RefusedRequest, RemoteCluster, RemoteRequest},
    error::RemoteError,
};

/// Field managers of image-swap.
const OWN_MANAGERS: [&str; 2] = [FLEET_MANAGER, MANAGER];

/// Object of which only metadata are read.
#[derive(Debug, Default, Deserialize)]
pub(super) struct LiveObject {
    #[serde(default)]
    pub(super) metadata: LiveMetadata,
}

/// Metadata of an object.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct LiveMetadata {
    pub(super) uid: String,
    pub(super) resource_version: String,
    /// Time of the request to delete the object; `None` unless it is being deleted.
    pub(super) deletion_timestamp: Option<IgnoredAny>,
    pub(super) annotations: LiveAnnotations,
    pub(super) managed_fields: Vec<LiveManager>,
}

/// The annotations that are read.
#[derive(Debug, Default, Deserialize)]
pub(super) struct LiveAnnotations {
    /// [`HELM_RELEASE`](image_swap_core::fleet::drift::HELM_RELEASE); `None` unless Helm installed the object.
    #[serde(rename = "meta.helm.sh/release-name")]
    pub(super) helm: Option<IgnoredAny>,
    /// [`CREATED_BY`](image_swap_core::fleet::bundle::CREATED_BY); `None` unless the fleet
    /// controller created the namespace, or the Secret with the declaration.
    #[serde(rename = "image-swap.io/created-by")]
    pub(super) created_by: Option<String>,
    /// [`LEAVING`](image_swap_core::labels::LEAVING); `None` on objects other than the anchor.
    #[serde(rename = "image-swap.io/leaving")]
    pub(super) leaving: Option<String>,
}

/// Entry of `managedFields`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LiveManager {
    manager: String,
    operation: String,
    /// Name of the subresource; empty for the object itself.
    subresource: String,
}

/// Returns an object without content.
pub(super) fn named(api_version: &str, kind: &str, namespace: &str, name: &str) -> BundleObject {
    BundleObject {
        phase: BundlePhase::Base,
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        namespace: Some(namespace.to_owned()),
        name: name.to_owned(),
        value: Value::Null,
    }
}

/// Returns the Secret that the agents of a release in `namespace` follow, in the form by which they
/// restore their nodes.
pub(super) fn nodes_secret(namespace: &str) -> BundleObject {
    let name = format!("{IMAGE_SWAP}-nodes");
    let value = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": name, "namespace": namespace },
        "type": "Opaque",
        "data": { RESTORE: base64::encode("true") },
    });
    BundleObject { value, ..named("v1", "Secret", namespace, &name) }
}

impl LiveObject {
    /// Returns true if Helm installed the object.
    pub(super) const fn is_of_helm(&self) -> bool {
        self.metadata.annotations.helm.is_some()
    }

    /// Returns true if the object is being deleted.
    pub(super) const fn is_ending(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// Returns true if the fleet controller created the object, and marked it.
    pub(super) fn is_created_by_fleet(&self) -> bool {
        self.metadata.annotations.created_by.as_deref() == Some(FLEET_MANAGER)
    }

    /// Returns true if image-swap wrote the object: the fleet controller, or the controller of the
    /// cluster.
    pub(super) fn is_own(&self) -> bool {
        let managers = &self.metadata.managed_fields;
        managers.iter().any(|it| OWN_MANAGERS.contains(&it.manager.as_str()))
    }

    /// Returns true if the fleet controller wrote the object.
    pub(super) fn is_of_fleet(&self) -> bool {
        let is_own = |it: &LiveManager| it.operation == "Apply" && it.manager == FLEET_MANAGER;
        self.metadata.managed_fields.iter().any(is_own)
    }

    /// Returns true if another program applies fields of the object. A controller that applies its
    /// status, as Kubernetes does for policies, does not count.
    pub(super) fn has_other_apply(&self) -> bool {
        let is_other = |it: &LiveManager| {
            it.operation == "Apply"
                && it.subresource.is_empty()
                && !OWN_MANAGERS.contains(&it.manager.as_str())
        };
        self.metadata.managed_fields.iter().any(is_other)
    }
}

impl RemoteCluster {
    /// Returns the metadata of `object`; `None` if it does not exist.
    ///
    /// # Errors
    /// The cluster does not answer, or refuses the request.
    pub(super) async fn live(
        &self,
        object: &BundleObject,
    ) -> Result<Option<LiveObject>, RemoteError> {
        self.read(&object.path(), METADATA).await
    }

    /// Applies `value` to `object`, and returns its metadata; the status if it is refused.
    ///
    /// # Errors
    /// No response.
    pub(super) async fn apply_object(
        &self,
        object: &BundleObject,
        value: &Value,
        is_forced: bool,
    ) -> Result<Result<LiveObject, RefusedRequest>, RemoteError> {
        let path = format!("{}?fieldManager={FLEET_MANAGER}&force={is_forced}", object.path());
        let body = Some((APPLY, value));
        self.send(RemoteRequest { method: Method::PATCH, path: &path, accept: METADATA, body })
            .await
    }

    /// Deletes `object` with the UID `uid`. Returns true if it existed.
    ///
    /// # Errors
    /// The API server refuses it, or does not respond.
    pub(super) async fn delete_object(
        &self,
        object: &BundleObject,
        uid: &str,
    ) -> Result<bool, RemoteError> {
        let options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": { "uid": uid },
        });
        let body = Some((JSON, &options));
        let path = object.path();
        let request = RemoteRequest { method: Method::DELETE, path: &path, accept: JSON, body };
        match self.send::<IgnoredAny>(request).await? {
            Ok(_) => Ok(true),
            Err(RefusedRequest { code: 404, .. }) => Ok(false),
            Err(RefusedRequest { code, .. }) => Err(RemoteError::of_code(code)),
        }
    }
}
