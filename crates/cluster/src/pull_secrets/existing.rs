//! The Secrets of our name that there are, by what they hold: a fingerprint, not
//! the password.

use std::{borrow::Cow, collections::BTreeMap};

use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::Stream;
use image_swap_core::cluster::pull_secrets::{self, KEY, NAME};
use k8s_openapi::{
    ByteString, NamespaceResourceScope,
    api::core::v1::{ObjectReference, Secret},
};
use kube::{
    Api, Client, Resource,
    core::ObjectMeta,
    runtime::{
        WatchStreamExt,
        watcher::{self, watcher},
    },
};
use ring::digest::{Context, SHA256};
use serde::Deserialize;
use serde_json::Value;

use super::PAGE;
use crate::{
    follow::{Patience, named},
    outline::Outline,
};

/// The kind of the release's anchor.
const OWNER_KIND: &str = "ClusterRole";

/// Every Secret of our name.
pub(super) fn watch(
    client: &Client,
) -> impl Stream<Item = Result<watcher::Event<SeenSecret>, watcher::Error>> + use<> {
    let secrets: Api<SeenSecret> = Api::all(client.clone());
    watcher(secrets, named(NAME).page_size(PAGE)).backoff(Patience::default())
}

/// What of a Secret is ours: its type, the credential, and the owner. What others
/// add is theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; 32]);

impl Fingerprint {
    fn of(kind: &str, credential: &[u8], anchor: &str) -> Self {
        let mut context = Context::new(&SHA256);
        for part in [kind.as_bytes(), credential, anchor.as_bytes()] {
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
        Self(context.finish().as_ref().try_into().unwrap_or_default())
    }

    /// Of an object that is to be written, which has one owner.
    pub(super) fn of_wanted(object: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let credential = STANDARD.decode(text(&object["data"][KEY])).unwrap_or_default();
        let anchor = text(&object["metadata"]["ownerReferences"][0]["uid"]);
        Self::of(&text(&object["type"]), &credential, &anchor)
    }
}

/// What is held of a Secret: not the credential.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Whole")]
pub(super) struct SeenSecret {
    names: ObjectMeta,
    manager: Option<Box<str>>,
    fingerprint: Fingerprint,
}

/// As the API server sends it.
#[derive(Deserialize)]
struct Whole {
    metadata: Outline,
    #[serde(rename = "type")]
    kind: Option<String>,
    data: Option<Data>,
}

/// See [`pull_secrets::KEY`].
#[derive(Deserialize)]
struct Data {
    #[serde(rename = ".dockerconfigjson")]
    credential: Option<ByteString>,
}

impl From<Whole> for SeenSecret {
    fn from(Whole { metadata, kind, data }: Whole) -> Self {
        let credential = data.and_then(|data| data.credential).unwrap_or_default();
        Self {
            fingerprint: Fingerprint::of(
                &kind.unwrap_or_default(),
                &credential.0,
                metadata.owner(OWNER_KIND).unwrap_or_default(),
            ),
            manager: metadata.manager().map(Into::into),
            names: metadata.into_names(),
        }
    }
}

impl SeenSecret {
    pub(super) fn namespace(&self) -> Option<&str> {
        self.names.namespace.as_deref()
    }
}

impl Resource for SeenSecret {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        Secret::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        Secret::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        Secret::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        Secret::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.names
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.names
    }
}

/// A Secret of our name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The release that says it made it.
    manager: Option<Box<str>>,
    fingerprint: Fingerprint,
    pub(super) uid: Box<str>,
    pub(super) version: Box<str>,
}

impl Found {
    fn of(secret: &SeenSecret) -> Self {
        let SeenSecret { names, manager, fingerprint } = secret;
        Self {
            manager: manager.clone(),
            fingerprint: *fingerprint,
            uid: names.uid.as_deref().unwrap_or_default().into(),
            version: names.resource_version.as_deref().unwrap_or_default().into(),
        }
    }

    /// How an event speaks of it.
    pub(super) fn reference(&self, namespace: &str) -> ObjectReference {
        ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Secret".into()),
            namespace: Some(namespace.into()),
            name: Some(NAME.into()),
            uid: Some(self.uid.to_string()),
            ..ObjectReference::default()
        }
    }
}

/// All of them, by namespace.
#[derive(Debug, Default)]
pub(super) struct Existing {
    found: BTreeMap<String, Found>,
    listed: BTreeMap<String, Found>,
}

impl Existing {
    pub(super) fn begin_list(&mut self) {
        self.listed.clear();
    }

    pub(super) fn list(&mut self, secret: &SeenSecret) {
        if let Some(namespace) = secret.namespace() {
            self.listed.insert(namespace.to_owned(), Found::of(secret));
        }
    }

    pub(super) fn end_list(&mut self) {
        self.found = std::mem::take(&mut self.listed);
    }

    pub(super) fn add(&mut self, secret: &SeenSecret) {
        if let Some(namespace) = secret.namespace() {
            self.found.insert(namespace.to_owned(), Found::of(secret));
        }
    }

    /// One that was deleted; a later one of its name stays.
    pub(super) fn remove(&mut self, secret: &SeenSecret) {
        let Some(namespace) = secret.namespace() else { return };
        let uid = secret.names.uid.as_deref().unwrap_or_default();
        if self.found.get(namespace).is_some_and(|it| &*it.uid == uid) {
            self.found.remove(namespace);
        }
    }

    pub(super) fn forget(&mut self, namespace: &str) {
        self.found.remove(namespace);
    }

    pub(super) fn get(&self, namespace: &str) -> Option<&Found> {
        self.found.get(namespace)
    }

    /// What a plan is made of: whether each is `release`'s, and as it is `wanted`.
    pub(super) fn state(
        &self,
        release: &str,
        wanted: Option<&Fingerprint>,
    ) -> BTreeMap<String, pull_secrets::Existing> {
        let state = |found: &Found| pull_secrets::Existing {
            ours: found.manager.as_deref() == Some(release),
            current: wanted == Some(&found.fingerprint),
        };
        self.found.iter().map(|(namespace, it)| (namespace.clone(), state(it))).collect()
    }
}

#[cfg(test)]
mod tests {
    use image_swap_core::cluster::pull_secrets::MANAGED_BY;
    use serde_json::json;

    use super::*;

    fn mk_secret() -> Value {
        json!({
            "kind": "Secret", "apiVersion": "v1", "type": "kubernetes.io/dockerconfigjson",
            "metadata": {
                "name": NAME, "namespace": "apps", "uid": "7c9e", "resourceVersion": "42",
                "creationTimestamp": null,
                "labels": { MANAGED_BY: "image-swap", "example.org/long": "x" },
                "annotations": { "example.org/long": "x" },
                "ownerReferences": [
                    { "apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "other" },
                    { "apiVersion": "v1", "kind": OWNER_KIND, "name": "a", "uid": "anchor" },
                ],
                "managedFields": [{
                    "manager": "image-swap", "operation": "Apply", "apiVersion": "v1",
                    "fieldsType": "FieldsV1", "fieldsV1": { "f:data": { ".": {} } },
                }],
            },
            "data": { KEY: "cGFzc3dvcmQ=", "other": "eA==" },
        })
    }

    fn read(secret: Value) -> SeenSecret {
        serde_json::from_value(secret).unwrap()
    }

    #[test]
    fn of_a_secret_nothing_is_held_but_its_names_its_maker_and_a_fingerprint() {
        let SeenSecret { names, manager, fingerprint } = read(mk_secret());
        let expected = ObjectMeta {
            name: Some(NAME.into()),
            namespace: Some("apps".into()),
            uid: Some("7c9e".into()),
            resource_version: Some("42".into()),
            ..ObjectMeta::default()
        };
        assert_eq!((names, manager.as_deref()), (expected, Some("image-swap")));
        let wanted = Fingerprint::of("kubernetes.io/dockerconfigjson", b"password", "anchor");
        assert_eq!(fingerprint, wanted);
        let written = json!({
            "type": "kubernetes.io/dockerconfigjson",
            "metadata": { "ownerReferences": [{ "kind": OWNER_KIND, "uid": "anchor" }] },
            "data": { KEY: "cGFzc3dvcmQ=" },
        });
        assert_eq!(Fingerprint::of_wanted(&written), wanted);
    }

    #[test]
    fn what_others_add_is_theirs_and_what_is_ours_makes_a_difference() {
        let ours = read(mk_secret()).fingerprint;
        let changed = |path: &str, value: Value| {
            let mut secret = mk_secret();
            *secret.pointer_mut(path).unwrap() = value;
            read(secret).fingerprint != ours
        };
        assert!(!changed("/metadata/labels", json!({ "example.org/long": "y" })));
        assert!(!changed("/metadata/annotations", Value::Null));
        assert!(!changed("/metadata/resourceVersion", "43".into()));
        assert!(!changed("/data/other", "eQ==".into()));
        assert!(changed("/data/.dockerconfigjson", "eA==".into()));
        assert!(changed("/data", Value::Null));
        assert!(changed("/type", "Opaque".into()));
        assert!(changed("/metadata/ownerReferences/1/uid", "another".into()));
        assert!(changed("/metadata/ownerReferences", Value::Null));
    }
}
