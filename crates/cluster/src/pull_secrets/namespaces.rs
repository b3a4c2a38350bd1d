//! The namespaces whose pods the registration selects.

use std::collections::{BTreeMap, BTreeSet};

use image_swap_core::control::webhooks::NamespaceScope;
use kube::{Resource, core::ObjectMeta, runtime::watcher::Event};

use crate::partial_meta::MetadataObject;

/// The names of the namespaces in a scope.
#[derive(Debug, Default)]
pub(super) struct SelectedNamespaces {
    names: BTreeSet<String>,
    listed: BTreeSet<String>,
    /// True once all namespaces were listed.
    pub(super) complete: bool,
}

impl SelectedNamespaces {
    /// Records a change. Returns true if a namespace joined or left, or the list is complete.
    pub(super) fn note(&mut self, event: Event<MetadataObject>, scope: &NamespaceScope) -> bool {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(namespace) => {
                let (name, is_selected) = selected(&namespace, scope);
                if is_selected {
                    self.listed.insert(name.into());
                }
            }
            Event::InitDone => {
                self.names = std::mem::take(&mut self.listed);
                self.complete = true;
                return true;
            }
            Event::Apply(namespace) => {
                return match selected(&namespace, scope) {
                    (name, true) => self.names.insert(name.into()),
                    (name, false) => self.names.remove(name),
                };
            }
            Event::Delete(namespace) => {
                self.names.remove(selected(&namespace, scope).0);
            }
        }
        false
    }

    pub(super) fn contains(&self, namespace: &str) -> bool {
        self.names.contains(namespace)
    }
}

/// Returns the name of a namespace, and true if the scope covers it.
fn selected<'n>(namespace: &'n MetadataObject, scope: &NamespaceScope) -> (&'n str, bool) {
    let ObjectMeta { name, labels, .. } = namespace.meta();
    let is_covered = scope.covers(labels.as_ref().unwrap_or(&BTreeMap::new()));
    (name.as_deref().unwrap_or_default(), is_covered)
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

    fn mk_namespace(name: &str, value: &str) -> MetadataObject {
        let object = json!({ "metadata": { "name": name, "labels": { "image": value } } });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn namespace_leaves_and_joins_by_its_label() {
        use Event::{Apply, Delete, Init, InitApply, InitDone};
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
        assert!(serde_json::from_value::<MetadataObject>(namespace).is_ok());
    }
}
