//! Objects of a workload cluster, as far as they are read.

use std::{
    borrow::Cow,
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use hyper::{Method, body::Bytes};
use image_swap_cluster::remote::bounded;
use image_swap_core::{
    fleet::{
        bundle::{BundleObject, BundlePhase, FLEET_MANAGER, ObjectValue},
        repair::{OWN_MANAGERS, is_other_apply},
    },
    labels::IMAGE_SWAP,
    status::RESTORE,
};
use image_swap_text::base64;
use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::json;

use super::{
    client::{APPLY, JSON, METADATA, RefusedRequest, RemoteCluster, RemoteRequest, json_body},
    error::RemoteError,
};

/// Longest UID, in bytes. Kubernetes has UIDs of 36 bytes.
const UID_MAX: usize = 128;

/// Object of which only metadata are read.
#[derive(Debug, Default, Deserialize)]
pub(super) struct LiveObject {
    #[serde(default)]
    pub(super) metadata: LiveMetadata,
}

/// Metadata of an object. Lists and long texts of the API server are reduced to flags while they are
/// read.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct LiveMetadata {
    #[serde(deserialize_with = "bounded::text::<_, UID_MAX>")]
    pub(super) uid: String,
    #[serde(deserialize_with = "bounded::version")]
    pub(super) resource_version: String,
    /// Time of the request to delete the object; `None` unless it is being deleted.
    deletion_timestamp: Option<IgnoredAny>,
    annotations: LiveAnnotations,
    managed_fields: LiveManagers,
}

/// The annotations that are read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LiveAnnotations {
    /// [`HELM_RELEASE`](image_swap_core::fleet::drift::HELM_RELEASE); `None` unless Helm installed
    /// the object.
    #[serde(rename = "meta.helm.sh/release-name")]
    helm: Option<IgnoredAny>,
    /// True if [`CREATED_BY`](image_swap_core::fleet::bundle::CREATED_BY) is the fleet controller,
    /// which created the namespace or the Secret with the declaration.
    #[serde(rename = "image-swap.io/created-by", deserialize_with = "is_fleet")]
    is_created_by_fleet: bool,
    /// True if [`LEAVING`](image_swap_core::labels::LEAVING) is `true`: the release leaves, of which
    /// the object is the anchor.
    #[serde(rename = "image-swap.io/leaving", deserialize_with = "is_true")]
    is_leaving: bool,
}

/// Text of a response, without a copy if it has no escaped characters.
#[derive(Deserialize)]
struct BorrowedText<'r>(#[serde(borrow)] Cow<'r, str>);

/// Reads a text, and returns true if it is the manager of the fleet controller.
fn is_fleet<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    BorrowedText::deserialize(deserializer).map(|text| text.0 == FLEET_MANAGER)
}

/// Reads a text, and returns true if it is `true`.
fn is_true<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    BorrowedText::deserialize(deserializer).map(|text| text.0 == "true")
}

/// Mode of an apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ApplyMode {
    /// Leaves fields of other managers.
    Plain,
    /// Takes fields of other managers.
    Forced,
    /// Stores nothing: the response is that of [`Self::Plain`].
    Trial,
}

impl ApplyMode {
    /// Returns the query of the request.
    const fn query(self) -> &'static str {
        match self {
            Self::Plain => "force=false",
            Self::Forced => "force=true",
            Self::Trial => "force=false&dryRun=All",
        }
    }
}

/// Hash of the set of fields of a manager, whatever their order. The hash of an empty set is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct FieldSetHash(u64);

/// Hash of a field, begun with its name. The name is not kept.
struct FieldHash(DefaultHasher);

impl<'de> Deserialize<'de> for FieldHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldName;

        impl Visitor<'_> for FieldName {
            type Value = FieldHash;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("the name of a field")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<FieldHash, E> {
                let mut hasher = DefaultHasher::new();
                name.hash(&mut hasher);
                Ok(FieldHash(hasher))
            }
        }

        deserializer.deserialize_str(FieldName)
    }
}

impl<'de> Deserialize<'de> for FieldSetHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = FieldSetHash;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a set of fields")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FieldSetHash, A::Error> {
                let mut sum = 0_u64;
                while let Some((FieldHash(mut hasher), FieldSetHash(below))) = map.next_entry()? {
                    below.hash(&mut hasher);
                    sum = sum.wrapping_add(hasher.finish());
                }
                Ok(FieldSetHash(sum))
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

/// The entries of `managedFields`, of which an API server may send any number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct LiveManagers {
    /// See [`LiveObject::is_own`].
    is_own: bool,
    /// See [`LiveObject::is_of_fleet`].
    is_of_fleet: bool,
    /// See [`LiveObject::has_other_apply`].
    has_other_apply: bool,
    /// See [`LiveObject::own_fields`].
    own_fields: FieldSetHash,
}

/// Entry of `managedFields`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct LiveManager<'r> {
    #[serde(borrow)]
    manager: Cow<'r, str>,
    #[serde(borrow)]
    operation: Cow<'r, str>,
    /// Name of the subresource; empty for the object itself.
    #[serde(borrow)]
    subresource: Cow<'r, str>,
    #[serde(rename = "fieldsV1")]
    fields: FieldSetHash,
}

impl LiveManagers {
    /// Adds the entry `manager`.
    fn include(&mut self, manager: &LiveManager<'_>) {
        let LiveManager { manager, operation, subresource, fields } = manager;
        let applies = operation == "Apply";
        self.is_own |= OWN_MANAGERS.contains(&&**manager);
        self.is_of_fleet |= applies && manager == FLEET_MANAGER;
        self.has_other_apply |= is_other_apply(manager, operation, subresource);
        if applies && subresource.is_empty() && manager == FLEET_MANAGER {
            self.own_fields = *fields;
        }
    }
}

impl<'de> Deserialize<'de> for LiveManagers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = LiveManagers;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list of managers")
            }

            fn visit_seq<A: SeqAccess<'de>>(
                self,
                mut entries: A,
            ) -> Result<LiveManagers, A::Error> {
                let mut managers = LiveManagers::default();
                while let Some(manager) = entries.next_element()? {
                    managers.include(&manager);
                }
                Ok(managers)
            }
        }

        deserializer.deserialize_seq(Entries)
    }
}

/// Returns an object without content.
pub(super) fn named(api_version: &str, kind: &str, namespace: &str, name: &str) -> BundleObject {
    BundleObject {
        phase: BundlePhase::Base,
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        namespace: Some(namespace.to_owned()),
        name: name.to_owned(),
        value: ObjectValue::default(),
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
    BundleObject { value: value.into(), ..named("v1", "Secret", namespace, &name) }
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
    pub(super) const fn is_created_by_fleet(&self) -> bool {
        self.metadata.annotations.is_created_by_fleet
    }

    /// Returns true if the object is the anchor of a release that leaves.
    pub(super) const fn is_leaving(&self) -> bool {
        self.metadata.annotations.is_leaving
    }

    /// Returns true if image-swap wrote the object: the fleet controller, or the controller of the
    /// cluster.
    pub(super) const fn is_own(&self) -> bool {
        self.metadata.managed_fields.is_own
    }

    /// Returns true if the fleet controller wrote the object.
    pub(super) const fn is_of_fleet(&self) -> bool {
        self.metadata.managed_fields.is_of_fleet
    }

    /// Returns true if another program applies fields of the object. A controller that applies its
    /// status, as Kubernetes does for policies, does not count.
    pub(super) const fn has_other_apply(&self) -> bool {
        self.metadata.managed_fields.has_other_apply
    }

    /// Returns the hash of the fields that the fleet controller applied, and that no other program
    /// has changed or removed since.
    pub(super) const fn own_fields(&self) -> u64 {
        self.metadata.managed_fields.own_fields.0
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
        value: &ObjectValue,
        mode: ApplyMode,
    ) -> Result<Result<LiveObject, RefusedRequest>, RemoteError> {
        let path = format!("{}?fieldManager={FLEET_MANAGER}&{}", object.path(), mode.query());
        let body = Some((APPLY, Bytes::from_owner(value.text())));
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
        let body = Some((JSON, json_body(&options)));
        let path = object.path();
        let request = RemoteRequest { method: Method::DELETE, path: &path, accept: JSON, body };
        match self.send::<IgnoredAny>(request).await? {
            Ok(_) => Ok(true),
            Err(RefusedRequest { code: 404, .. }) => Ok(false),
            Err(RefusedRequest { code, .. }) => Err(RemoteError::of_code(code)),
        }
    }
}

#[cfg(test)]
mod tests {
    use image_swap_cluster::api::MANAGER;
    use image_swap_core::{
        fleet::{bundle::CREATED_BY, drift::HELM_RELEASE},
        labels::LEAVING,
    };

    use serde_json::Value;

    use super::*;

    fn managed(entries: &Value) -> LiveManagers {
        serde_json::from_value(entries.clone()).unwrap()
    }

    #[test]
    fn managers_are_reduced_to_flags() {
        let entry = |manager: &str, operation: &str, subresource: &str| {
            json!({
                "manager": manager, "operation": operation, "subresource": subresource,
                "fieldsV1": { "f:data": {} },
            })
        };
        let flags = |entries: Value| {
            let LiveManagers { is_own, is_of_fleet, has_other_apply, .. } = managed(&entries);
            (is_own, is_of_fleet, has_other_apply)
        };
        assert_eq!(flags(json!([{}])), (false, false, false));
        assert_eq!(flags(json!([entry(FLEET_MANAGER, "Apply", "")])), (true, true, false));
        assert_eq!(flags(json!([entry(FLEET_MANAGER, "Update", "")])), (true, false, false));
        assert_eq!(flags(json!([entry(MANAGER, "Apply", "")])), (true, false, false));
        assert_eq!(flags(json!([entry("kubectl", "Update", "")])), (false, false, false));
        assert_eq!(flags(json!([entry("kubelet", "Apply", "status")])), (false, false, false));
        let both = json!([entry(FLEET_MANAGER, "Apply", ""), entry("flux", "Apply", "")]);
        assert_eq!(flags(both), (true, true, true));
    }

    #[test]
    fn applied_fields_are_reduced_to_a_hash() {
        let of = |manager: &str, operation: &str, subresource: &str, fields: Value| {
            let entry = json!({
                "manager": manager, "operation": operation, "subresource": subresource,
                "fieldsV1": fields,
            });
            managed(&json!([entry, { "manager": "kubectl", "operation": "Apply" }])).own_fields.0
        };
        let own =
            |fields: &str| of(FLEET_MANAGER, "Apply", "", serde_json::from_str(fields).unwrap());
        let both = own(r#"{"f:data":{"f:a":{},"f:b":{}}}"#);
        assert_eq!(own(r#"{"f:data":{"f:b":{},"f:a":{}}}"#), both);
        for other in [
            r#"{"f:data":{"f:a":{}}}"#,
            r#"{"f:data":{"f:a":{"f:b":{}}}}"#,
            r#"{"f:data":{},"f:a":{},"f:b":{}}"#,
            "{}",
        ] {
            assert_ne!(own(other), both, "{other}");
        }
        let fields = json!({ "f:data": { "f:a": {} } });
        for (manager, operation, subresource) in [
            (FLEET_MANAGER, "Update", ""),
            (FLEET_MANAGER, "Apply", "status"),
            ("other", "Apply", ""),
        ] {
            assert_eq!(of(manager, operation, subresource, fields.clone()), 0);
        }
    }

    #[test]
    fn annotations_are_reduced_to_flags() {
        let live = |key: &str, value: &str| -> LiveObject {
            serde_json::from_value(json!({ "metadata": { "annotations": { key: value } } }))
                .unwrap()
        };
        assert!(live(HELM_RELEASE, "other").is_of_helm());
        assert!(live(CREATED_BY, FLEET_MANAGER).is_created_by_fleet());
        assert!(!live(CREATED_BY, "other").is_created_by_fleet());
        assert!(live(LEAVING, "true").is_leaving() && !live(LEAVING, "false").is_leaving());
    }

    #[test]
    fn long_identity_is_invalid() {
        let parse = |uid: usize, version: usize| {
            let (uid, version) = ("1".repeat(uid), "1".repeat(version));
            let object = json!({ "metadata": { "uid": uid, "resourceVersion": version } });
            serde_json::from_value::<LiveObject>(object).is_ok()
        };
        assert_eq!([parse(128, 64), parse(129, 1), parse(1, 65)], [true, false, false]);
    }
}
