//! Repairs the registered configuration: image-swap's fields are restored, and the selector
//! expressions of other writers are kept.
//!
//! Providers narrow the selectors of every webhook (AKS its `control-plane` namespaces,
//! Gardener its own); both writers would repeat their changes forever. An annotation records
//! the expressions that image-swap wrote last, so that they can change. An expression that is
//! neither desired nor recorded belongs to another writer.

use serde_json::{Map, Value, json};

use super::{DesiredWebhooks, WebhookEntry};
use crate::{control::policy::FailurePolicy, labels};

const NAMESPACES: &str = "namespaceSelector";
const OBJECTS: &str = "objectSelector";
/// Keys of image-swap's own expressions, for a configuration without the record.
const OWN: [&str; 2] = [labels::EXEMPT, labels::PROBE];

/// Returns the object to write so that `desired` is registered; `None` if it already is.
///
/// `observed` is the API server's object with all its defaults; `None` if it does not exist.
/// Additions of other writers are kept.
pub fn plan(desired: &DesiredWebhooks, observed: Option<&Value>) -> Option<Value> {
    let empty = json!({});
    let before = observed.unwrap_or(&empty);
    let mut after = before.clone();
    after["apiVersion"] = "admissionregistration.k8s.io/v1".into();
    after["kind"] = "MutatingWebhookConfiguration".into();
    if !after["metadata"].is_object() {
        after["metadata"] = json!({ "name": desired.name });
    }
    let metadata = &mut after["metadata"];
    own(metadata, &desired.owner);
    let written = record(metadata, desired);
    after["webhooks"] = entries(desired, before["webhooks"].as_array(), &written);
    // Objects that were read through a list have no kind.
    let same = observed.is_some()
        && after["webhooks"] == before["webhooks"]
        && after["metadata"] == before["metadata"];
    (!same).then_some(after)
}

/// Returns the registered policy for ordinary pods.
pub fn earned(observed: Option<&Value>) -> FailurePolicy {
    let entries = observed.and_then(|it| it["webhooks"].as_array());
    let pods = entries.into_iter().flatten().find(|it| it["name"] == labels::PODS_WEBHOOK);
    match pods.and_then(|it| it["failurePolicy"].as_str()) {
        Some("Fail") => FailurePolicy::Fail,
        _ => FailurePolicy::Ignore,
    }
}

fn is_own(entry: &Value) -> bool {
    entry["name"].as_str().unwrap_or_default().ends_with(labels::WEBHOOK_SUFFIX)
}

fn own(metadata: &mut Value, owner: &Value) {
    let mut owners = metadata["ownerReferences"].as_array().cloned().unwrap_or_default();
    let is_own = |it: &Value| {
        ["apiVersion", "kind", "name", "uid"].iter().all(|key| it[*key] == owner[*key])
    };
    if !owners.iter().any(is_own) {
        // A former release with the same name has been removed.
        owners.retain(|it| it["kind"] != owner["kind"] || it["name"] != owner["name"]);
        owners.push(owner.clone());
        metadata["ownerReferences"] = owners.into();
    }
}

/// Records the expressions to write, and returns those that were written last.
fn record(metadata: &mut Value, desired: &DesiredWebhooks) -> Value {
    let expressions: Map<String, Value> = desired
        .entries
        .iter()
        .map(|entry| {
            let both = json!({ NAMESPACES: entry.namespaces, OBJECTS: entry.objects });
            (entry.name.to_owned(), both)
        })
        .collect();
    if !metadata["annotations"].is_object() {
        metadata["annotations"] = json!({});
    }
    let slot = &mut metadata["annotations"][labels::EXPRESSIONS];
    let before = slot.as_str().and_then(|text| serde_json::from_str(text).ok());
    *slot = Value::Object(expressions).to_string().into();
    before.unwrap_or_default()
}

fn entries(desired: &DesiredWebhooks, observed: Option<&Vec<Value>>, written: &Value) -> Value {
    let observed = observed.map_or(&[][..], Vec::as_slice);
    let named = |name: &str| observed.iter().find(|it| it["name"] == name);
    let own = desired.entries.iter().map(|entry| repaired(entry, named(entry.name), written));
    // Entries of image-swap that are no longer desired are removed; those of other writers are
    // kept.
    let is_foreign = |it: &&Value| !is_own(it);
    own.chain(observed.iter().filter(is_foreign).cloned()).collect()
}

fn repaired(entry: &WebhookEntry, observed: Option<&Value>, written: &Value) -> Value {
    let mut after = observed.cloned().unwrap_or_else(|| json!({}));
    after["name"] = entry.name.into();
    for (key, value) in entry.fields.as_object().into_iter().flatten() {
        if value.as_array().is_some_and(Vec::is_empty) {
            if let Some(fields) = after.as_object_mut() {
                fields.remove(key);
            }
        } else if after[key] != *value {
            after[key] = value.clone();
        }
    }
    for (selector, expressions) in [(NAMESPACES, &entry.namespaces), (OBJECTS, &entry.objects)] {
        let last = &written[entry.name][selector];
        let merged = selected(expressions, &after[selector], last);
        if !after[selector].is_object() {
            after[selector] = json!({});
        }
        if merged.is_empty() {
            if let Some(fields) = after[selector].as_object_mut() {
                fields.remove("matchExpressions");
            }
        } else {
            after[selector]["matchExpressions"] = merged.into();
        }
    }
    after
}

/// Returns the expressions `own` and those in `observed` that belong to other writers. Present
/// expressions keep their order, so that no two writers fight over it.
fn selected(own: &[Value], observed: &Value, last: &Value) -> Vec<Value> {
    let observed = observed["matchExpressions"].as_array().map_or(&[][..], Vec::as_slice);
    let last = last.as_array().map_or(&[][..], Vec::as_slice);
    let is_stale = |it: &Value| {
        let by_key = it["key"].as_str().is_some_and(|key| OWN.contains(&key));
        !own.contains(it) && (last.contains(it) || by_key)
    };
    if own.iter().all(|it| observed.contains(it)) && !observed.iter().any(is_stale) {
        return observed.to_vec();
    }
    let foreign = observed.iter().filter(|it| !own.contains(it) && !is_stale(it));
    own.iter().chain(foreign).cloned().collect()
}
