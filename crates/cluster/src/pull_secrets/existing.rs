//! The Secrets of our name that there are, by what they hold: a fingerprint, not
//! the password.

use std::collections::BTreeMap;

use futures_util::Stream;
use image_swap_core::cluster::pull_secrets::{self, KEY, MANAGED_BY, NAME};
use k8s_openapi::api::core::v1::{ObjectReference, Secret};
use kube::{
    Api, Client,
    runtime::{
        WatchStreamExt,
        watcher::{self, watcher},
    },
};
use ring::digest::{Context, SHA256};
use serde_json::Value;

use crate::follow::{Patience, named};

/// The kind of the release's anchor.
const OWNER_KIND: &str = "ClusterRole";

/// Every Secret of our name.
pub(super) fn watch(
    client: &Client,
) -> impl Stream<Item = Result<watcher::Event<Secret>, watcher::Error>> + use<> {
    let secrets: Api<Secret> = Api::all(client.clone());
    watcher(secrets, named(NAME)).backoff(Patience::default())
}

/// What of a Secret is ours: its type, the credential, and the owner. What others
/// add is theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of what the API server has.
    pub(super) fn of(secret: &Secret) -> Self {
        let owners = secret.metadata.owner_references.iter().flatten();
        let mut anchors = owners.filter(|owner| owner.kind == OWNER_KIND);
        let credential = secret.data.as_ref().and_then(|data| data.get(KEY));
        let mut context = Context::new(&SHA256);
        for part in [
            secret.type_.as_deref().unwrap_or_default().as_bytes(),
            credential.map(|it| it.0.as_slice()).unwrap_or_default(),
            anchors.next().map(|it| it.uid.as_str()).unwrap_or_default().as_bytes(),
        ] {
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
        Self(context.finish().as_ref().try_into().unwrap_or_default())
    }

    /// Of an object that is to be written.
    pub(super) fn of_wanted(object: &Value) -> Self {
        serde_json::from_value(object.clone()).map_or(Self([0; 32]), |secret| Self::of(&secret))
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
    fn of(secret: &Secret) -> Self {
        let metadata = &secret.metadata;
        let manager = metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY));
        Self {
            manager: manager.map(|it| it.as_str().into()),
            fingerprint: Fingerprint::of(secret),
            uid: metadata.uid.as_deref().unwrap_or_default().into(),
            version: metadata.resource_version.as_deref().unwrap_or_default().into(),
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

    pub(super) fn list(&mut self, secret: &Secret) {
        if let Some(namespace) = &secret.metadata.namespace {
            self.listed.insert(namespace.clone(), Found::of(secret));
        }
    }

    pub(super) fn end_list(&mut self) {
        self.found = std::mem::take(&mut self.listed);
    }

    pub(super) fn add(&mut self, secret: &Secret) {
        if let Some(namespace) = &secret.metadata.namespace {
            self.found.insert(namespace.clone(), Found::of(secret));
        }
    }

    /// One that was deleted; a later one of its name stays.
    pub(super) fn remove(&mut self, secret: &Secret) {
        let Some(namespace) = &secret.metadata.namespace else { return };
        let uid = secret.metadata.uid.as_deref().unwrap_or_default();
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
