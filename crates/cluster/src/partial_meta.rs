//! Partial deserialisation of objects of which a cluster has many.
//!
//! Most of an object's metadata are its `managedFields`. For a pod with five containers they are
//! some 4 KiB of text. As maps in memory they are thirty times as large, and a page of pods was
//! most of a controller's memory.

use std::collections::BTreeMap;

use image_swap_core::labels::ObservedAnnotations;
use k8s_openapi::{ByteString, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{Resource, core::ObjectMeta};
use ring::digest::{SHA256, digest};
use serde::Deserialize;

/// Writes the methods of `Resource` for a type of any kind, whose field `metadata` is a
/// [`PartialMetadata`].
macro_rules! dynamic_resource {
    () => {
        type DynamicType = kube::core::ApiResource;
        type Scope = kube::core::DynamicResourceScope;

        fn kind(of: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
            of.kind.as_str().into()
        }

        fn group(of: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
            of.group.as_str().into()
        }

        fn version(of: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
            of.version.as_str().into()
        }

        fn plural(of: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
            of.plural.as_str().into()
        }

        fn meta(&self) -> &kube::core::ObjectMeta {
            &self.metadata.names
        }

        fn meta_mut(&mut self) -> &mut kube::core::ObjectMeta {
            &mut self.metadata.names
        }
    };
}
pub(crate) use dynamic_resource;

/// An object of which the API server sends the metadata alone.
pub(crate) type MetadataObject = PartialObject<false>;
/// An object that the API server sends whole.
pub(crate) type WholeObject = PartialObject<true>;

/// The fields of an object that are read. All others are skipped. One type for every kind,
/// since each type would be a watch of its own in the program, too.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct PartialObject<const WHOLE: bool> {
    pub(crate) metadata: PartialMetadata,
    /// The spec of a pod.
    #[serde(default)]
    pub(crate) spec: PodFields,
    /// The status of a pod.
    #[serde(default)]
    pub(crate) status: PodPhase,
    /// The type of a Secret.
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    /// The data of a Secret.
    pub(crate) data: Option<SecretFields>,
}

/// The metadata of an object.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "MetadataFields")]
pub(crate) struct PartialMetadata {
    /// Names, labels and owners, as kube's watches need them.
    pub(crate) names: ObjectMeta,
    pub(crate) annotations: ObservedAnnotations,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MetadataFields {
    name: Option<String>,
    generate_name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    annotations: Option<ObservedAnnotations>,
    labels: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<OwnerReference>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PodFields {
    pub(crate) containers: Option<Vec<PodContainer>>,
    pub(crate) init_containers: Option<Vec<PodContainer>>,
    pub(crate) ephemeral_containers: Option<Vec<PodContainer>>,
    pub(crate) volumes: Option<Vec<PodVolume>>,
    pub(crate) image_pull_secrets: Option<Vec<SecretName>>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct PodContainer {
    pub(crate) name: String,
    pub(crate) image: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct PodVolume {
    pub(crate) name: String,
    pub(crate) image: Option<PodVolumeImage>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct PodVolumeImage {
    pub(crate) reference: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SecretName {
    pub(crate) name: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct PodPhase {
    pub(crate) phase: Option<String>,
}

/// See [`image_swap_core::pull_secret::KEY`].
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SecretFields {
    #[serde(rename = ".dockerconfigjson")]
    pub(crate) credential: Option<CredentialHash>,
}

/// A hash of a credential. It stays in memory: the password could be guessed from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "ByteString")]
pub(crate) struct CredentialHash([u8; 32]);

impl CredentialHash {
    pub(crate) fn of(credential: &[u8]) -> Self {
        Self(digest(&SHA256, credential).as_ref().try_into().unwrap_or_default())
    }
}

impl From<ByteString> for CredentialHash {
    fn from(ByteString(credential): ByteString) -> Self {
        Self::of(&credential)
    }
}

impl From<MetadataFields> for PartialMetadata {
    fn from(fields: MetadataFields) -> Self {
        Self {
            annotations: fields.annotations.unwrap_or_default(),
            names: ObjectMeta {
                name: fields.name,
                generate_name: fields.generate_name,
                namespace: fields.namespace,
                uid: fields.uid,
                resource_version: fields.resource_version,
                labels: fields.labels,
                owner_references: fields.owner_references,
                ..ObjectMeta::default()
            },
        }
    }
}

impl<const WHOLE: bool> PartialObject<WHOLE> {
    /// Returns the namespace and the name.
    pub(crate) fn name(&self) -> Option<(&str, &str)> {
        self.namespace().zip(self.meta().name.as_deref())
    }

    pub(crate) fn namespace(&self) -> Option<&str> {
        self.meta().namespace.as_deref()
    }

    pub(crate) fn uid(&self) -> Option<&str> {
        self.meta().uid.as_deref()
    }

    pub(crate) fn owners(&self) -> &[OwnerReference] {
        self.meta().owner_references.as_deref().unwrap_or_default()
    }

    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        self.meta().labels.as_ref()?.get(key).map(String::as_str)
    }
}

impl<const WHOLE: bool> Resource for PartialObject<WHOLE> {
    dynamic_resource!();

    /// Returns true if the API server sends metadata only.
    fn metadata_api() -> bool {
        !WHOLE
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
    fn object_has_only_names_and_marks() {
        let owners = json!([{ "apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "1" }]);
        let labels = json!({ labels::MANAGED_BY: "image-swap", "app": "shop" });
        let object = mk_object(&labels, &json!({ labels::KEPT: "true", "x": "y" }), &owners);
        let object: MetadataObject = serde_json::from_value(object).unwrap();
        assert_eq!(object.label(labels::MANAGED_BY), Some("image-swap"));
        assert!(object.metadata.annotations.kept.is_some());
        assert_eq!(object.owners().iter().map(|it| &*it.kind).collect::<Vec<_>>(), ["Pod"]);
        let names = ObjectMeta {
            name: Some("shop-1".into()),
            generate_name: Some("shop-".into()),
            namespace: Some("apps".into()),
            uid: Some("7c9e".into()),
            resource_version: Some("42".into()),
            labels: serde_json::from_value(labels).unwrap(),
            owner_references: serde_json::from_value(owners).unwrap(),
            ..ObjectMeta::default()
        };
        assert_eq!(*object.meta(), names);
    }

    #[test]
    fn object_with_only_a_name_is_read() {
        let object = json!({ "metadata": { "name": "a", "namespace": "b" } });
        let object: WholeObject = serde_json::from_value(object).unwrap();
        assert!(object.metadata.annotations.kept.is_none() && object.owners().is_empty());
        assert!(object.label(labels::MANAGED_BY).is_none());
        let object = mk_object(&Value::Null, &Value::Null, &Value::Null);
        assert!(serde_json::from_value::<MetadataObject>(object).is_ok());
    }
}
