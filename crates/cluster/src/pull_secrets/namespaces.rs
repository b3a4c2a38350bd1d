//! The namespaces whose pods the registration selects.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::Stream;
use image_swap_core::control::webhooks::NamespaceScope;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, core::ObjectMeta, runtime::watcher};
use serde::Deserialize;

use crate::{
    object_watch::{all, pages},
    partial_meta::partial_resource,
};

/// Watches the metadata of every namespace.
pub(super) fn watch(
    client: &Client,
) -> impl Stream<Item = Result<watcher::Event<SeenNamespace>, watcher::Error>> + use<> {
    pages(Api::all(client.clone()), all())
}

/// A namespace: its names and labels.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "WholeNamespace")]
pub(super) struct SeenNamespace {
    names: ObjectMeta,
    labels: BTreeMap<String, String>,
}

/// A namespace as the API server sends it.
#[derive(Deserialize)]
struct WholeNamespace {
    metadata: NamespaceMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NamespaceMetadata {
    name: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    labels: Option<BTreeMap<String, String>>,
}

impl From<WholeNamespace> for SeenNamespace {
    fn from(WholeNamespace { metadata }: WholeNamespace) -> Self {
        let NamespaceMetadata { name, uid, resource_version, labels } = metadata;
        let names = ObjectMeta { name, uid, resource_version, ..ObjectMeta::default() };
        Self { names, labels: labels.unwrap_or_default() }
    }
}

partial_resource!(SeenNamespace, Namespace, metadata);

/// The names of the namespaces in a scope.
#[derive(Debug, Default)]
pub(super) struct SelectedNamespaces {
    names: BTreeSet<Box<str>>,
    listed: BTreeSet<Box<str>>,
    /// True once all namespaces were listed.
    pub(super) complete: bool,
}

impl SelectedNamespaces {
    /// Records a change. Returns true if a namespace joined or left, or the list is complete.
    pub(super) fn note(
        &mut self,
        event: watcher::Event<SeenNamespace>,
        scope: &NamespaceScope,
    ) -> bool {
        match event {
            watcher::Event::Init => self.listed.clear(),
            watcher::Event::InitApply(namespace) => {
                if let Some(name) = namespace.selected_by(scope) {
                    self.listed.insert(name.into());
                }
            }
            watcher::Event::InitDone => {
                self.names = std::mem::take(&mut self.listed);
                self.complete = true;
                return true;
            }
            watcher::Event::Apply(namespace) => {
                let name = namespace.names.name.as_deref().unwrap_or_default();
                return match namespace.selected_by(scope) {
                    Some(name) if self.names.contains(name) => false,
                    Some(name) => self.names.insert(name.into()),
                    None => self.names.remove(name),
                };
            }
            watcher::Event::Delete(namespace) => {
                self.names.remove(namespace.names.name.as_deref().unwrap_or_default());
            }
        }
        false
    }

    pub(super) fn contains(&self, namespace: &str) -> bool {
        self.names.contains(namespace)
    }
}

impl SeenNamespace {
    /// Returns its name if the scope covers it.
    fn selected_by(&self, scope: &NamespaceScope) -> Option<&str> {
        self.names.name.as_deref().filter(|_| scope.covers(&self.labels))
    }
}

#[cfg(test)]
mod tests {
    use image_swap_core::control::webhooks::{DesiredWebhooks, WebhookEntry};
    use serde_json::{Value, json};

    use super::*;

    fn scope() -> NamespaceScope {
        let expression = json!({ "key": "image", "operator": "NotIn", "values": ["disabled"] });
        let entry = WebhookEntry {
            name: "pods.image-swap.io",
            namespaces: vec![expression],
            objects: Vec::new(),
            fields: Value::Null,
        };
        let desired =
            DesiredWebhooks { name: "a".into(), owner: Value::Null, entries: vec![entry] };
        NamespaceScope::of(&desired, None)
    }

    fn mk_namespace(name: &str, value: &str) -> SeenNamespace {
        let object = json!({ "metadata": { "name": name, "labels": { "image": value } } });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn namespace_leaves_and_joins_by_its_label() {
        use watcher::Event::{Apply, Delete, Init, InitApply, InitDone};
        let scope = scope();
        let mut selected = SelectedNamespaces::default();
        selected.note(Init, &scope);
        selected.note(InitApply(mk_namespace("a", "")), &scope);
        selected.note(InitApply(mk_namespace("b", "disabled")), &scope);
        assert!(!selected.contains("a") && !selected.complete);
        assert!(selected.note(InitDone, &scope) && selected.complete);
        assert!(selected.contains("a") && !selected.contains("b"));
        assert!(!selected.note(Apply(mk_namespace("a", "x")), &scope));
        assert!(selected.note(Apply(mk_namespace("a", "disabled")), &scope));
        assert!(!selected.contains("a"));
        assert!(selected.note(Apply(mk_namespace("b", "enabled")), &scope));
        selected.note(Delete(mk_namespace("b", "enabled")), &scope);
        assert!(!selected.contains("b"));
        // A list that begins again keeps what is known until its end.
        selected.note(Apply(mk_namespace("c", "")), &scope);
        selected.note(Init, &scope);
        assert!(selected.contains("c"));
        selected.note(InitDone, &scope);
        assert!(!selected.contains("c"));
    }

    #[test]
    fn namespace_without_labels_is_read() {
        let namespace = json!({ "metadata": { "name": "a", "labels": null } });
        assert!(serde_json::from_value::<SeenNamespace>(namespace).is_ok());
    }
}
