//! The existing pull Secrets. Of their content only a fingerprint is kept, not the password.

use std::collections::BTreeMap;

use image_swap_core::{
    control::pull_secrets::PullSecretState,
    labels,
    pull_secret::{KEY, NAME},
};
use image_swap_text::base64;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use serde_json::Value;

use crate::partial_meta::{CredentialHash, WholeObject};

/// The kind of the release's anchor.
const OWNER_KIND: &str = "ClusterRole";

/// The content of a Secret: its type, and a hash of its credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(Box<str>, CredentialHash);

impl Fingerprint {
    /// Returns the fingerprint of an object to be written.
    pub(super) fn of_wanted(object: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let credential = base64::decode(text(&object["data"][KEY])).unwrap_or_default();
        Self(text(&object["type"]).into(), CredentialHash::of(&credential))
    }
}

/// The marks of a Secret that decide on its future.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SecretMarks {
    /// The release in the label of the Secret's manager; `None` without that label.
    manager: Option<Box<str>>,
    /// True if a former release left the Secret to pods that refer to it.
    kept: bool,
    /// True if the Secret has owners, and would be deleted with them.
    owned: bool,
    /// True if one of the owners is a release.
    anchored: bool,
    fingerprint: Fingerprint,
}

/// A Secret with the name of pull Secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FoundSecret {
    marks: SecretMarks,
    pub(super) uid: Box<str>,
    pub(super) version: Box<str>,
}

impl FoundSecret {
    pub(super) fn of(secret: &WholeObject) -> Self {
        let credential = secret.data.as_ref().and_then(|data| data.credential);
        let fingerprint = Fingerprint(
            secret.kind.as_deref().unwrap_or_default().into(),
            credential.unwrap_or_else(|| CredentialHash::of(&[])),
        );
        Self {
            marks: SecretMarks {
                manager: secret.label(labels::MANAGED_BY).map(Into::into),
                kept: secret.metadata.annotations.kept.is_some(),
                owned: !secret.owners().is_empty(),
                anchored: secret.owners().iter().any(|owner| owner.kind == OWNER_KIND),
                fingerprint,
            },
            uid: secret.uid().unwrap_or_default().into(),
            version: secret.meta().resource_version.as_deref().unwrap_or_default().into(),
        }
    }

    fn state(&self, release: &str, wanted: Option<&Fingerprint>) -> PullSecretState {
        let SecretMarks { manager, kept, owned, anchored, fingerprint } = &self.marks;
        PullSecretState {
            managed: manager.as_deref().is_some_and(|manager| *kept || manager == release),
            current: wanted == Some(fingerprint) && !owned && !kept,
            anchored: *anchored,
        }
    }
}

/// Returns the reference of an event to the pull Secret of a namespace, `found` or missing.
pub(super) fn reference(namespace: &str, found: Option<&FoundSecret>) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Secret".into()),
        namespace: Some(namespace.into()),
        name: Some(NAME.into()),
        uid: found.map(|found| found.uid.to_string()),
        ..ObjectReference::default()
    }
}

/// The existing Secrets by namespace.
#[derive(Debug, Default)]
pub(super) struct ExistingSecrets {
    found: BTreeMap<String, FoundSecret>,
    listed: BTreeMap<String, FoundSecret>,
}

impl ExistingSecrets {
    pub(super) fn begin_list(&mut self) {
        self.listed.clear();
    }

    pub(super) fn list(&mut self, secret: &WholeObject) {
        if let Some(namespace) = secret.namespace() {
            self.listed.insert(namespace.to_owned(), FoundSecret::of(secret));
        }
    }

    pub(super) fn end_list(&mut self) {
        self.found = std::mem::take(&mut self.listed);
    }

    /// Records the present state of a Secret. Returns true if more than its version has changed.
    pub(super) fn add(&mut self, secret: &WholeObject) -> bool {
        let Some(namespace) = secret.namespace() else { return false };
        let found = FoundSecret::of(secret);
        let marks = found.marks.clone();
        let before = self.found.insert(namespace.to_owned(), found);
        before.is_none_or(|before| before.marks != marks)
    }

    /// Removes a deleted Secret, unless a newer one with the same name has been seen.
    pub(super) fn remove(&mut self, secret: &WholeObject) {
        let Some(namespace) = secret.namespace() else { return };
        let uid = secret.uid().unwrap_or_default();
        if self.found.get(namespace).is_some_and(|it| &*it.uid == uid) {
            self.found.remove(namespace);
        }
    }

    /// Returns true if a release has left the Secret of a namespace to the pods that refer to it.
    pub(super) fn is_kept(&self, namespace: &str) -> bool {
        self.found.get(namespace).is_some_and(|found| found.marks.kept)
    }

    pub(super) fn forget(&mut self, namespace: &str) {
        self.found.remove(namespace);
    }

    pub(super) fn get(&self, namespace: &str) -> Option<&FoundSecret> {
        self.found.get(namespace)
    }

    /// Returns the state of each Secret for a plan: if `release` manages it, and if its content is
    /// `wanted`.
    pub(super) fn state(
        &self,
        release: &str,
        wanted: Option<&Fingerprint>,
    ) -> BTreeMap<String, PullSecretState> {
        let mut all = BTreeMap::new();
        let state = |found: &FoundSecret| found.state(release, wanted);
        all.extend(self.found.iter().map(|(namespace, it)| (namespace.clone(), state(it))));
        all
    }

    /// Returns true if a Secret of `release` exists, or one that a former release kept.
    pub(super) fn has_any_of(&self, release: &str) -> bool {
        self.found.values().any(|found| found.state(release, None).managed)
    }
}

#[cfg(test)]
mod tests {
    use kube::core::ObjectMeta;
    use serde_json::json;

    use super::*;

    fn mk_secret() -> Value {
        json!({
            "kind": "Secret", "apiVersion": "v1", "type": "kubernetes.io/dockerconfigjson",
            "metadata": {
                "name": NAME, "namespace": "apps", "uid": "7c9e", "resourceVersion": "42",
                "creationTimestamp": null,
                "labels": { labels::MANAGED_BY: "image-swap", "example.org/long": "x" },
                "annotations": { "example.org/long": "x" },
                "managedFields": [{
                    "manager": "image-swap", "operation": "Apply", "apiVersion": "v1",
                    "fieldsType": "FieldsV1", "fieldsV1": { "f:data": { ".": {} } },
                }],
            },
            "data": { KEY: "cGFzc3dvcmQ=", "other": "eA==" },
        })
    }

    fn read(secret: Value) -> WholeObject {
        serde_json::from_value(secret).unwrap()
    }

    fn wanted() -> Fingerprint {
        let object = json!({
            "type": "kubernetes.io/dockerconfigjson", "data": { KEY: "cGFzc3dvcmQ=" },
        });
        Fingerprint::of_wanted(&object)
    }

    /// Returns the state of the Secret after a change of one value.
    fn state(path: &str, value: Value) -> PullSecretState {
        let mut secret = mk_secret();
        let (parent, key) = path.rsplit_once('/').unwrap();
        secret.pointer_mut(parent).unwrap()[key] = value;
        FoundSecret::of(&read(secret)).state("image-swap", Some(&wanted()))
    }

    // guarantee: 6c
    #[test]
    fn secret_is_held_without_its_credential() {
        let secret = read(mk_secret());
        let expected = ObjectMeta {
            name: Some(NAME.into()),
            namespace: Some("apps".into()),
            uid: Some("7c9e".into()),
            resource_version: Some("42".into()),
            labels: secret.meta().labels.clone(),
            ..ObjectMeta::default()
        };
        assert_eq!(*secret.meta(), expected);
        assert_eq!(FoundSecret::of(&secret).marks.fingerprint, wanted());
        assert_eq!(secret.label(labels::MANAGED_BY), Some("image-swap"));
        assert!(!format!("{secret:?}").contains("password"));
    }

    #[test]
    fn only_own_fields_make_a_difference() {
        let is_current = |path, value| state(path, value).current;
        assert!(is_current("/metadata/annotations", Value::Null));
        assert!(is_current("/metadata/resourceVersion", "43".into()));
        assert!(is_current("/data/other", "eQ==".into()));
        assert!(!is_current("/data/.dockerconfigjson", "eA==".into()));
        assert!(!is_current("/data", Value::Null));
        assert!(!is_current("/type", "Opaque".into()));
        assert!(!is_current("/metadata/annotations", json!({ labels::KEPT: "true" })));
    }

    #[test]
    fn owner_of_any_kind_is_removed() {
        for (kind, anchored) in [("ClusterRole", true), ("Pod", false)] {
            let owner = json!([{ "apiVersion": "v1", "kind": kind, "name": "a", "uid": "b" }]);
            let found = state("/metadata/ownerReferences", owner);
            assert_eq!((found.current, found.anchored, found.managed), (false, anchored, true));
        }
    }

    #[test]
    fn kept_secret_of_another_release_is_taken_over() {
        let managed = |labels: Value, annotations: Value| {
            let mut secret = mk_secret();
            secret["metadata"]["labels"] = labels;
            secret["metadata"]["annotations"] = annotations;
            FoundSecret::of(&read(secret)).state("image-swap", None).managed
        };
        let kept = json!({ labels::KEPT: "true" });
        assert!(managed(json!({ labels::MANAGED_BY: "image-swap" }), Value::Null));
        assert!(!managed(json!({ labels::MANAGED_BY: "other" }), Value::Null));
        assert!(managed(json!({ labels::MANAGED_BY: "other" }), kept.clone()));
        assert!(!managed(Value::Null, kept));
    }
}
