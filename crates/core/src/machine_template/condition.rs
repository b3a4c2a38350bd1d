//! The updates that are reviewed, as expressions of the API server.

use super::{
    plan::{CLASS, CLASS_TEMPLATE, MACHINE_CONFIG, MACHINES},
    reviewed_kinds,
};
use crate::{
    labels,
    render::cluster_api::{COMMANDS, MachineKind, SCRIPT_PATH},
};

/// Returns a condition with its name for each kind. All of them are true of an update that loses
/// the script, and of one that makes a template with the script one of a `ClusterClass`.
pub fn loss_conditions() -> Vec<(String, String)> {
    reviewed_kinds()
        .map(|kind| {
            let name = kind.name.to_lowercase();
            (name, format!("request.kind.kind != '{}' || ({})", kind.name, loses(kind)))
        })
        .collect()
}

/// Returns the expression for updates of `kind` that lose the script.
fn loses(kind: &MachineKind) -> String {
    let file = format!("it, has(it.path) && it.path == '{SCRIPT_PATH}'");
    let secret = format!("{file} && has(it.contentFrom) && has(it.contentFrom.secret)");
    let command = format!("it, it.contains('{SCRIPT_PATH}')");
    let old_file = exists("oldObject", kind, "files", &secret);
    let old_command = exists("oldObject", kind, COMMANDS, &command);
    let new_file = exists("object", kind, "files", &file);
    let new_command = exists("object", kind, COMMANDS, &command);
    let lost = format!("!{new_file} || ({old_command} && !{new_command})");
    let lost = format!("{} && ({lost})", is_kept(kind));
    if kind.name == CLASS_TEMPLATE {
        return format!("{old_file} && (({lost}) || {})", joins_class());
    }
    format!("{old_file} && {lost}")
}

/// Returns the expression for objects of `kind` that must keep the script, as [`super::plan()`] decides.
fn is_kept(kind: &MachineKind) -> String {
    let mut kept = format!(
        "!{} && !has(object.metadata.deletionTimestamp)",
        has_label("object", labels::DISABLED)
    );
    if kind.name == MACHINE_CONFIG {
        for owner in MACHINES {
            kept = format!("{kept} && !{}", has_owner("object", owner));
        }
    }
    kept
}

/// Returns the expression for updates that add a `ClusterClass` to the owners of a labelled object.
fn joins_class() -> String {
    format!(
        "({} && {} && !{})",
        has_label("object", labels::ENABLED),
        has_owner("object", CLASS),
        has_owner("oldObject", CLASS)
    )
}

/// Returns the expression that is true if the label of templates has `value`.
fn has_label(object: &str, value: &str) -> String {
    let (label, labels) = (labels::BOOTSTRAP, format!("{object}.metadata.labels"));
    format!("(has({labels}) && '{label}' in {labels} && {labels}['{label}'] == '{value}')")
}

/// Returns the expression that is true if an owner has `kind`.
fn has_owner(object: &str, kind: &str) -> String {
    let owners = format!("{object}.metadata.ownerReferences");
    format!("(has({owners}) && {owners}.exists(it, it.kind == '{kind}'))")
}

/// Returns the expression that is true if the list `name` has an element for which `predicate` is
/// true. An absent parent is no error.
fn exists(object: &str, kind: &MachineKind, name: &str, predicate: &str) -> String {
    let mut path = object.to_owned();
    let mut present = Vec::new();
    for key in kind.fields.split('/').skip(1).chain([name]) {
        path = format!("{path}.{key}");
        present.push(format!("has({path})"));
    }
    format!("({} && {path}.exists({predicate}))", present.join(" && "))
}
