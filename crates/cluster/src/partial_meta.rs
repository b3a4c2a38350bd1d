//! Partial deserialisation of objects of which a cluster has many.
//!
//! Most of an object's metadata are its `managedFields`. Of a pod with five
//! containers they are some 4 KiB of text, and parsed, with a map for every field,
//! thirty times as much; a page of such pods was most of what a controller held.

use std::borrow::Cow;

use image_swap_core::labels::{SecretAnnotations, SecretLabels};
use kube::{
    Resource,
    core::{ApiResource, DynamicResourceScope, ObjectMeta},
};
use serde::Deserialize;

/// Implements [`Resource`] for a type with a part of the objects of a kind, and with their
/// names in the field `names`.
///
/// With `metadata` the API server sends the metadata alone, with `whole` everything.
macro_rules! partial_resource {
    ($type:ty, $kind:ty, metadata) => {
        partial_resource!($type, $kind, true);
    };
    ($type:ty, $kind:ty, whole) => {
        partial_resource!($type, $kind, false);
    };
    ($type:ty, $kind:ty, $is_metadata:literal) => {
        impl kube::Resource for $type {
            type DynamicType = ();
            type Scope = <$kind as kube::Resource>::Scope;

            fn metadata_api() -> bool {
                $is_metadata
            }

            fn kind((): &()) -> std::borrow::Cow<'_, str> {
                <$kind as kube::Resource>::kind(&())
            }

            fn group((): &()) -> std::borrow::Cow<'_, str> {
                <$kind as kube::Resource>::group(&())
            }

            fn version((): &()) -> std::borrow::Cow<'_, str> {
                <$kind as kube::Resource>::version(&())
            }

            fn plural((): &()) -> std::borrow::Cow<'_, str> {
                <$kind as kube::Resource>::plural(&())
            }

            fn meta(&self) -> &kube::core::ObjectMeta {
                &self.names
            }

            fn meta_mut(&mut self) -> &mut kube::core::ObjectMeta {
                &mut self.names
            }
        }
    };
}

pub(crate) use partial_resource;

/// The fields of an object's `metadata` that are read. All others are skipped.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MetadataSubset {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    annotations: Option<SecretAnnotations>,
    labels: Option<SecretLabels>,
    owner_references: Option<Vec<OwnerKind>>,
}

#[derive(Deserialize)]
struct OwnerKind {
    kind: String,
}

impl MetadataSubset {
    /// Returns the release that its label names as its manager.
    pub(crate) fn manager(&self) -> Option<&str> {
        self.labels.as_ref()?.managed_by.as_deref()
    }

    /// Returns true if a release has left it behind for pods that name it.
    pub(crate) fn is_kept(&self) -> bool {
        self.annotations.as_ref().is_some_and(|all| all.kept.is_some())
    }

    /// Returns true if it has an owner, whose end would be its own.
    pub(crate) fn is_owned(&self) -> bool {
        self.owner_references.as_ref().is_some_and(|owners| !owners.is_empty())
    }

    /// Returns true if it has an owner of this kind.
    pub(crate) fn is_owned_by(&self, kind: &str) -> bool {
        self.owner_references.iter().flatten().any(|owner| owner.kind == kind)
    }

    /// Returns the names alone, as kube's watches need them.
    pub(crate) fn into_names(self) -> ObjectMeta {
        let Self { name, namespace, uid, resource_version, .. } = self;
        ObjectMeta { name, namespace, uid, resource_version, ..ObjectMeta::default() }
    }
}

/// An object that is watched for its changes alone: its names. One type for every kind,
/// since each type would be a watch of its own in the program, too.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "PartialObject")]
pub(crate) struct ObjectVersion {
    names: ObjectMeta,
}

/// An object as the API server sends it.
#[derive(Deserialize)]
struct PartialObject {
    metadata: MetadataSubset,
}

impl From<PartialObject> for ObjectVersion {
    fn from(PartialObject { metadata }: PartialObject) -> Self {
        Self { names: metadata.into_names() }
    }
}

impl Resource for ObjectVersion {
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
    use image_swap_core::labels;
    use serde_json::{Value, json};

    use super::*;

    /// Returns an object's metadata as API servers send it.
    fn mk_object(labels: &Value, annotations: &Value, owners: &Value) -> Value {
        json!({ "metadata": {
            "name": "shop-1", "generateName": "shop-", "namespace": "apps",
            "uid": "7c9e", "resourceVersion": "42", "generation": 1, "creationTimestamp": null,
            "labels": labels, "annotations": annotations, "ownerReferences": owners,
            "finalizers": ["example.org/finalizer"],
            "managedFields": [{
                "manager": "kubelet", "operation": "Update", "apiVersion": "v1",
                "fieldsType": "FieldsV1", "fieldsV1": { "f:status": { "f:phase": {} } },
            }],
        } })
    }

    #[test]
    fn outline_has_names_and_marks_alone() {
        let owners = json!([{ "apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "1" }]);
        let labels = json!({ labels::MANAGED_BY: "image-swap", "app": "shop" });
        let object = mk_object(&labels, &json!({ labels::KEPT: "true", "x": "y" }), &owners);
        let outline: MetadataSubset = serde_json::from_value(object["metadata"].clone()).unwrap();
        assert_eq!(outline.manager(), Some("image-swap"));
        assert!(outline.is_kept() && outline.is_owned() && outline.is_owned_by("Pod"));
        assert!(!outline.is_owned_by("ClusterRole"));
        let names = ObjectMeta {
            name: Some("shop-1".into()),
            namespace: Some("apps".into()),
            uid: Some("7c9e".into()),
            resource_version: Some("42".into()),
            ..ObjectMeta::default()
        };
        assert_eq!(outline.into_names(), names);
        let glimpse: ObjectVersion = serde_json::from_value(object).unwrap();
        assert_eq!(glimpse.names, names);
    }

    #[test]
    fn object_with_a_name_alone_is_read() {
        let object = json!({ "metadata": { "name": "a", "namespace": "b" } });
        let outline: MetadataSubset = serde_json::from_value(object["metadata"].clone()).unwrap();
        assert!(!outline.is_kept() && !outline.is_owned() && outline.manager().is_none());
        let object = mk_object(&Value::Null, &Value::Null, &Value::Null);
        assert!(serde_json::from_value::<ObjectVersion>(object).is_ok());
    }
}
