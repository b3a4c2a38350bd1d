//! A Kustomize component that adds entries to lists, in a single file.
//!
//! A JSON patch cannot append to a list that may be absent, and a merge patch replaces the lists of
//! custom resources. A replacement with `create` appends to a list, and creates it first. So the
//! component appends an entry that is not there yet, and then replaces the last entry by patches.

use image_swap_text::yaml;
use serde_json::{Value, json};

use super::{COMMANDS, MachineEntries, MachineKind};

/// The value that marks a new entry until a patch replaces it.
const NEW: &str = "image-swap-new-entry";

/// The lists of one kind, and the patch that sets their last entries.
pub(super) struct ComponentTarget<'a> {
    /// API group of the kind.
    pub(super) group: &'a str,
    /// Kind of the objects.
    pub(super) kind: &'a str,
    /// Paths of Kustomize that append an entry each.
    pub(super) appended: Vec<String>,
    /// JSON patch that replaces the new entries, at the index -1.
    pub(super) patch: Value,
}

/// Returns the component that adds entries to all objects of `kinds`.
pub fn component(kinds: &[(&MachineKind, &MachineEntries)]) -> String {
    let with_files = kinds.iter().filter(|(_, entries)| entries.has_files());
    print(&with_files.map(|(kind, entries)| target(kind, entries)).collect::<Vec<_>>())
}

/// Returns the target that adds `entries` to objects of `kind`.
fn target<'a>(kind: &'a MachineKind, entries: &MachineEntries) -> ComponentTarget<'a> {
    let fields = kind.fields;
    let mut appended = vec![format!("{}.files.[path={NEW}].content", dotted(fields))];
    let mut patch = Vec::new();
    for (number, file) in entries.files.iter().enumerate() {
        let (op, index) = if number == 0 { ("replace", "-1") } else { ("add", "-") };
        patch.push(json!({ "op": op, "path": format!("{fields}/files/{index}"), "value": file }));
    }
    if let Some(command) = &entries.command {
        let list = format!("{fields}/{COMMANDS}");
        appended.push(format!("{}.[={NEW}]", dotted(&list)));
        patch.push(json!({ "op": "remove", "path": format!("{list}/-1") }));
        patch.push(json!({ "op": "add", "path": format!("{list}/0"), "value": command }));
    }
    ComponentTarget { group: kind.group, kind: kind.name, appended, patch: Value::from(patch) }
}

/// Returns the JSON pointer `pointer` as a path of Kustomize.
fn dotted(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".")
}

/// Returns the component of `targets`.
pub(super) fn print(targets: &[ComponentTarget<'_>]) -> String {
    let Some(first) = targets.first() else { return String::new() };
    // Components of one kustomization need different names.
    let name = ["image-swap-", &first.kind.to_lowercase()].concat();
    let appended = targets.iter().map(|target| {
        json!({
            "select": { "group": target.group, "kind": target.kind },
            "fieldPaths": target.appended,
            "options": { "create": true },
        })
    });
    let patches = targets.iter().map(|target| {
        let name = ["image-swap-", &target.kind.to_lowercase()].concat();
        yaml::print(&json!({
            "apiVersion": "builtin",
            "kind": "PatchTransformer",
            "metadata": { "name": name },
            "patch": yaml::print(&target.patch),
            "target": { "group": target.group, "kind": target.kind },
        }))
    });
    yaml::print(&json!({
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        // Kustomize leaves out objects with this annotation.
        "configMapGenerator": [{
            "name": name,
            "literals": [format!("value={NEW}")],
            "options": {
                "annotations": { "config.kubernetes.io/local-config": "true" },
                "disableNameSuffixHash": true,
            },
        }],
        "replacements": [{
            "source": { "kind": "ConfigMap", "name": name, "fieldPath": "data.value" },
            "targets": appended.collect::<Vec<_>>(),
        }],
        "transformers": patches.collect::<Vec<_>>(),
    }))
}

/// Returns the component that appends `entry` to the list `patches` of each `ClusterClass`.
pub(super) fn print_class(entry: &Value) -> String {
    print(&[ComponentTarget {
        group: "cluster.x-k8s.io",
        kind: "ClusterClass",
        appended: vec![format!("spec.patches.[name={NEW}].description")],
        patch: json!([{ "op": "replace", "path": "/spec/patches/-1", "value": entry }]),
    }])
}
