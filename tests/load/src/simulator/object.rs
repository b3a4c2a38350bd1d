//! Objects of simulated clusters, with the managers of their fields.
//!
//! Fields are those of maps. A list is one field, unlike in Kubernetes, which merges some lists by
//! key.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use serde_json::{Map, Value, json};

/// Path of a field, from the root of the object.
type FieldPath = Vec<String>;

/// Fields that identify an object. No manager owns them.
const IDENTITY: [&[&str]; 4] =
    [&["apiVersion"], &["kind"], &["metadata", "name"], &["metadata", "namespace"]];

/// Version that an apply expects.
const VERSION: [&str; 2] = ["metadata", "resourceVersion"];

/// Content of an object. Clusters with the same content share it.
#[derive(Clone, Debug, Default)]
pub(super) struct ObjectContent {
    fields: BTreeMap<FieldPath, Value>,
    managers: Vec<FieldManager>,
    /// Start of the object's metadata as JSON, up to the fields that differ between clusters.
    pub(super) metadata: String,
}

/// Owner of fields.
#[derive(Clone, Debug, PartialEq)]
struct FieldManager {
    name: String,
    is_apply: bool,
    fields: BTreeSet<FieldPath>,
}

/// Field that another manager owns with another value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FieldConflict {
    field: FieldPath,
    manager: String,
    is_apply: bool,
}

impl ObjectContent {
    /// Returns the content after the server-side apply of `applied` by `manager`.
    ///
    /// # Errors
    /// Fields that other managers own with other values, unless the apply `is_forced`.
    pub(super) fn apply(
        before: Option<&Self>,
        manager: &str,
        applied: &Value,
        is_forced: bool,
    ) -> Result<Self, Vec<FieldConflict>> {
        let mut next = before.cloned().unwrap_or_default();
        let mut new = fields_of(applied);
        // A precondition, and no field of the content.
        new.retain(|path, _| !VERSION.iter().eq(path.iter()));
        let is_own = |it: &FieldManager| it.is_apply && it.name == manager;
        let differs = |field: &FieldPath| next.fields.get(field) != new.get(field);
        let mut conflicts = Vec::new();
        for other in next.managers.iter().filter(|it| !is_own(it)) {
            let contested = other.fields.iter().filter(|it| new.contains_key(*it) && differs(it));
            conflicts.extend(contested.map(|field| FieldConflict {
                field: field.clone(),
                manager: other.name.clone(),
                is_apply: other.is_apply,
            }));
        }
        if !is_forced && !conflicts.is_empty() {
            return Err(conflicts);
        }
        for other in next.managers.iter_mut().filter(|it| !is_own(it)) {
            other.fields.retain(|it| !conflicts.iter().any(|conflict| conflict.field == *it));
        }
        let former = next.managers.iter().position(is_own).map(|at| next.managers.remove(at));
        for field in former.into_iter().flat_map(|it| it.fields) {
            let is_owned = next.managers.iter().any(|it| it.fields.contains(&field));
            if !is_owned && !new.contains_key(&field) && !is_identity(&field) {
                next.fields.remove(&field);
            }
        }
        let fields = new.keys().filter(|it| !is_identity(it)).cloned().collect();
        next.managers.push(FieldManager { name: manager.to_owned(), is_apply: true, fields });
        next.fields.extend(new);
        next.finish();
        Ok(next)
    }

    /// Returns the content after the merge patch `patch` by `manager`.
    pub(super) fn merge(&self, manager: &str, patch: &Value) -> Self {
        let mut next = self.clone();
        let mut changed = BTreeSet::new();
        for (field, value) in fields_of(patch) {
            if is_identity(&field) || next.fields.get(&field) == Some(&value) {
                continue;
            }
            for manager in &mut next.managers {
                manager.fields.remove(&field);
            }
            if value.is_null() {
                next.fields.remove(&field);
            } else {
                next.fields.insert(field.clone(), value);
                changed.insert(field);
            }
        }
        let is_own = |it: &&mut FieldManager| !it.is_apply && it.name == manager;
        match next.managers.iter_mut().find(is_own) {
            Some(own) => own.fields.extend(changed),
            None => next.managers.push(FieldManager {
                name: manager.to_owned(),
                is_apply: false,
                fields: changed,
            }),
        }
        next.finish();
        next
    }

    /// Returns true if both have the same fields and managers.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.fields == other.fields && self.managers == other.managers
    }

    /// Returns the object, without its system metadata.
    pub(super) fn value(&self) -> Value {
        let mut object = Map::new();
        for (path, value) in &self.fields {
            let Some((last, parents)) = path.split_last() else { continue };
            let mut place = &mut object;
            for parent in parents {
                let child = place.entry(parent).or_insert_with(|| json!({}));
                let Value::Object(child) = child else { return Value::Null };
                place = child;
            }
            place.insert(last.clone(), value.clone());
        }
        Value::Object(object)
    }

    /// Returns the value of a field as text.
    pub(super) fn text(&self, path: &[&str]) -> Option<&str> {
        let path: FieldPath = path.iter().map(|&it| it.to_owned()).collect();
        self.fields.get(&path)?.as_str()
    }

    /// Removes managers without fields, and writes the metadata.
    fn finish(&mut self) {
        self.managers.retain(|it| !it.fields.is_empty());
        self.managers.sort_by(|one, other| one.name.cmp(&other.name));
        let mut metadata = self.value()["metadata"].take();
        let version = self.text(&["apiVersion"]).unwrap_or_default().to_owned();
        let managers = self.managers.iter().map(|it| it.value(&version));
        metadata["managedFields"] = managers.collect();
        // Without the closing brace: the fields of a cluster follow.
        self.metadata = metadata.to_string();
        self.metadata.pop();
    }
}

impl FieldManager {
    /// Returns the entry of `managedFields`.
    fn value(&self, api_version: &str) -> Value {
        let mut fields = Map::new();
        for path in &self.fields {
            let mut place = &mut fields;
            for name in path {
                let child = place.entry(format!("f:{name}")).or_insert_with(|| json!({}));
                let Value::Object(child) = child else { break };
                place = child;
            }
        }
        json!({
            "manager": self.name,
            "operation": if self.is_apply { "Apply" } else { "Update" },
            "apiVersion": api_version,
            "time": "2026-01-01T00:00:00Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": fields,
        })
    }
}

/// Returns the `Status` of a refused apply.
pub(super) fn conflict_status(conflicts: &[FieldConflict], api_version: &str) -> Value {
    let message = |it: &FieldConflict| {
        let using = if it.is_apply { String::new() } else { format!(" using {api_version}") };
        format!("conflict with \"{}\"{using}", it.manager)
    };
    let mut text = format!("Apply failed with {} conflicts: ", conflicts.len());
    let mut causes = Vec::new();
    for conflict in conflicts {
        let field: String = conflict.field.iter().map(|it| format!(".{it}")).collect();
        let message = message(conflict);
        let _ = write!(text, "{message}: {field}; ");
        causes
            .push(json!({ "reason": "FieldManagerConflict", "message": message, "field": field }));
    }
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": text, "reason": "Conflict", "details": { "causes": causes }, "code": 409,
    })
}

fn is_identity(path: &FieldPath) -> bool {
    IDENTITY.iter().any(|it| it.iter().eq(path.iter()))
}

/// Returns the fields of an object. A list, and an empty map, is one field.
fn fields_of(object: &Value) -> BTreeMap<FieldPath, Value> {
    fn collect(path: &mut FieldPath, value: &Value, found: &mut BTreeMap<FieldPath, Value>) {
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                for (name, value) in fields {
                    path.push(name.clone());
                    collect(path, value, found);
                    path.pop();
                }
            }
            value => drop(found.insert(path.clone(), value.clone())),
        }
    }
    let mut found = BTreeMap::new();
    collect(&mut Vec::new(), object, &mut found);
    found
}
