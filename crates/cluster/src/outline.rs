//! What is read of the objects of which a cluster has many: what tells what to do,
//! and no more.
//!
//! Most of an object's metadata are its `managedFields`. Of a pod with five
//! containers they are some 4 KiB of text, and parsed, with a map for every field,
//! thirty times as much; a page of such pods was most of what a controller held.

use std::borrow::Cow;

use kube::{
    Resource,
    core::{ApiResource, DynamicResourceScope, ObjectMeta},
};
use serde::{Deserialize, de::IgnoredAny};

/// What is read of an object's `metadata`. All else is stepped over.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Outline {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    annotations: Option<Annotations>,
    labels: Option<Labels>,
    owner_references: Option<Vec<Owner>>,
}

/// See [`image_swap_core::admission::ORIGINALS`].
#[derive(Deserialize)]
struct Annotations {
    #[serde(rename = "image-swap.io/original-images")]
    originals: Option<IgnoredAny>,
}

/// See [`image_swap_core::cluster::pull_secrets::MANAGED_BY`].
#[derive(Deserialize)]
struct Labels {
    #[serde(rename = "image-swap.io/managed-by")]
    managed_by: Option<String>,
}

#[derive(Deserialize)]
struct Owner {
    kind: String,
    uid: String,
}

impl Outline {
    /// Whether it is a pod of which an image was swapped.
    pub(crate) fn is_swapped(&self) -> bool {
        self.annotations.as_ref().is_some_and(|all| all.originals.is_some())
    }

    /// The release that says it made it.
    pub(crate) fn manager(&self) -> Option<&str> {
        self.labels.as_ref()?.managed_by.as_deref()
    }

    /// The UID of its first owner of this kind.
    pub(crate) fn owner(&self, kind: &str) -> Option<&str> {
        let mut owners = self.owner_references.iter().flatten();
        owners.find(|owner| owner.kind == kind).map(|owner| owner.uid.as_str())
    }

    /// The names alone, as kube's watches want to see them.
    pub(crate) fn into_names(self) -> ObjectMeta {
        let Self { name, namespace, uid, resource_version, .. } = self;
        ObjectMeta { name, namespace, uid, resource_version, ..ObjectMeta::default() }
    }
}

/// What is held of an object that is watched for its metadata alone. Of whatever kind:
/// a type for each would be a watch of its own in the program, too.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Whole")]
pub(crate) struct Glimpse {
    names: ObjectMeta,
    /// Whether it is a pod of which an image was swapped.
    pub(crate) is_swapped: bool,
}

/// As the API server sends it.
#[derive(Deserialize)]
struct Whole {
    metadata: Outline,
}

impl From<Whole> for Glimpse {
    fn from(Whole { metadata }: Whole) -> Self {
        Self { is_swapped: metadata.is_swapped(), names: metadata.into_names() }
    }
}

impl Glimpse {
    /// Namespace and name.
    pub(crate) fn name(&self) -> Option<(&str, &str)> {
        self.names.namespace.as_deref().zip(self.names.name.as_deref())
    }
}

impl Resource for Glimpse {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    /// The API server keeps the rest to itself.
    fn metadata_api() -> bool {
        true
    }

    fn kind(of: &ApiResource) -> Cow<'_, str> {
        of.kind.as_str().into()
    }

    fn group(of: &ApiResource) -> Cow<'_, str> {
        of.group.as_str().into()
    }

    fn version(of: &ApiResource) -> Cow<'_, str> {
        of.version.as_str().into()
    }

    fn plural(of: &ApiResource) -> Cow<'_, str> {
        of.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.names
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.names
    }
}

#[cfg(test)]
mod tests {
    use image_swap_core::admission::ORIGINALS;
    use serde_json::{Value, json};

    use super::*;

    /// A pod's metadata as API servers send it, and everything that it may have.
    fn mk_pod(annotations: &Value) -> Value {
        json!({
            "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
            "metadata": {
                "name": "shop-1", "generateName": "shop-", "namespace": "apps",
                "uid": "7c9e", "resourceVersion": "42", "generation": 1,
                "creationTimestamp": null,
                "labels": { "app": "shop" },
                "annotations": annotations,
                "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "shop", "uid": "1f",
                }],
                "finalizers": ["example.org/finalizer"],
                "managedFields": [{
                    "manager": "kubelet", "operation": "Update", "apiVersion": "v1",
                    "fieldsType": "FieldsV1", "fieldsV1": { "f:status": { "f:phase": {} } },
                }],
            },
        })
    }

    #[test]
    fn of_a_pod_nothing_is_held_but_its_names_and_whether_it_was_swapped() {
        let names = ObjectMeta {
            name: Some("shop-1".into()),
            namespace: Some("apps".into()),
            uid: Some("7c9e".into()),
            resource_version: Some("42".into()),
            ..ObjectMeta::default()
        };
        for (annotations, is_swapped) in [
            (json!({ ORIGINALS: "{}", "example.org/long": "x" }), true),
            (json!({ "example.org/long": "x" }), false),
            (Value::Null, false),
        ] {
            let pod: Glimpse = serde_json::from_value(mk_pod(&annotations)).unwrap();
            assert_eq!((&pod.names, pod.is_swapped), (&names, is_swapped));
            assert_eq!(pod.name(), Some(("apps", "shop-1")));
        }
    }

    #[test]
    fn a_pod_that_has_no_more_than_a_name_can_be_read() {
        let pod = json!({ "metadata": { "name": "a", "namespace": "b" } });
        let pod: Glimpse = serde_json::from_value(pod).unwrap();
        assert_eq!((pod.name(), pod.is_swapped), (Some(("b", "a")), false));
    }
}
