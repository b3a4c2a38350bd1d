//! The JSON patch of a template.

use serde_json::{Map, Value, json};

use crate::{
    labels,
    render::cluster_api::{COMMANDS, MachineKind, SCRIPT_PATH, secret_entries},
};

/// Label of an object that Velero restores. Its machines exist already.
const RESTORED: &str = "velero.io/restore-name";
/// Label of an object that a `ClusterClass` produces.
const OF_CLASS: &str = "topology.cluster.x-k8s.io/owned";
/// Kind of the owner of a class's templates.
pub(super) const CLASS: &str = "ClusterClass";
/// Reviewed kind that a class may have as a template.
pub(super) const CLASS_TEMPLATE: &str = "KubeadmConfigTemplate";
/// Kind of the configuration of a machine, and of a machine pool.
pub(super) const MACHINE_CONFIG: &str = "KubeadmConfig";
/// Owners of the configuration of a single machine.
pub(super) const MACHINES: [&str; 2] = ["Machine", "KubeadmControlPlane"];

/// The operation of a request.
pub(super) enum TemplateOperation<'a> {
    /// A new object.
    Create {
        /// True if its namespace contains the Secret with the script.
        has_secret: bool,
    },
    /// A change of an object.
    Update {
        /// The stored object.
        before: &'a Value,
    },
}

/// Returns the JSON patch for `object` of `kind`; empty if it stays as it is.
pub(super) fn plan(
    kind: &MachineKind,
    operation: &TemplateOperation<'_>,
    object: &Value,
) -> Vec<Value> {
    let mut patched = PatchedTemplate { object: object.clone(), patch: Vec::new() };
    match operation {
        TemplateOperation::Create { has_secret } => {
            if *has_secret && is_new(object) && !ScriptUse::of(kind, object).is_any() {
                let entries = secret_entries();
                for file in entries.files {
                    patched.insert(&[kind.fields, "/files"].concat(), None, file);
                }
                let commands = [kind.fields, "/", COMMANDS].concat();
                if let Some(command) = entries.command {
                    patched.insert(&commands, Some(0), command.into());
                }
            }
        }
        TemplateOperation::Update { before } => {
            if joins_class(kind, before, object) {
                for pointer in ScriptUse::added(kind, object) {
                    patched.remove(&pointer);
                }
            } else if is_kept(kind, object) {
                let (old, new) = (ScriptUse::of(kind, before), ScriptUse::of(kind, object));
                let lost = |old, new| if new { None } else { old };
                if let Some((at, file)) = lost(old.secret_file, new.has_file) {
                    patched.insert(&[kind.fields, "/files"].concat(), Some(at), file.clone());
                }
                if old.secret_file.is_some()
                    && let Some((at, command)) = lost(old.command, new.command.is_some())
                {
                    let commands = [kind.fields, "/", COMMANDS].concat();
                    patched.insert(&commands, Some(at), command.clone());
                }
            }
        }
    }
    patched.patch
}

/// Returns true if an administrator creates `object`, and wants the script in it. An object with
/// owners, finalizers or a label of Velero is restored or moved, and its machines exist.
fn is_new(object: &Value) -> bool {
    let metadata = &object["metadata"];
    let is_absent = |key: &str| metadata[key].as_array().is_none_or(Vec::is_empty);
    metadata["labels"][labels::BOOTSTRAP] == labels::ENABLED
        && is_absent("ownerReferences")
        && is_absent("finalizers")
        && metadata["labels"][RESTORED].is_null()
        && metadata["labels"][OF_CLASS].is_null()
}

/// Returns true if an update of `object` must not lose the script.
fn is_kept(kind: &MachineKind, object: &Value) -> bool {
    let metadata = &object["metadata"];
    let owners = metadata["ownerReferences"].as_array().map_or(&[][..], Vec::as_slice);
    let is_of_machine = kind.name == MACHINE_CONFIG
        && owners.iter().any(|it| it["kind"].as_str().is_some_and(|it| MACHINES.contains(&it)));
    metadata["labels"][labels::BOOTSTRAP] != labels::DISABLED
        && metadata["deletionTimestamp"].is_null()
        && !is_of_machine
}

/// Returns true if an update makes `object` a template of a `ClusterClass`, and it may have the
/// script from its creation. The controller of the class adds itself to the owners before it reports
/// the class as reconciled, which is before the class produces the first object.
fn joins_class(kind: &MachineKind, before: &Value, object: &Value) -> bool {
    let is_of_class = |object: &Value| {
        let owners = object["metadata"]["ownerReferences"].as_array();
        owners.is_some_and(|owners| owners.iter().any(|it| it["kind"] == CLASS))
    };
    kind.name == CLASS_TEMPLATE
        && object["metadata"]["labels"][labels::BOOTSTRAP] == labels::ENABLED
        && is_of_class(object)
        && !is_of_class(before)
}

/// The script in the lists of an object.
#[derive(Clone, Copy)]
struct ScriptUse<'a> {
    /// Entry that refers to the Secret, with its index; `None` without one.
    secret_file: Option<(usize, &'a Value)>,
    /// True if an entry has the path of the script.
    has_file: bool,
    /// Command that runs the script, with its index; `None` without one.
    command: Option<(usize, &'a Value)>,
}

impl<'a> ScriptUse<'a> {
    /// Finds the script in `object` of `kind`.
    fn of(kind: &MachineKind, object: &'a Value) -> Self {
        let list = |name: &str| {
            let list = object.pointer(&[kind.fields, "/", name].concat()).and_then(Value::as_array);
            list.map_or(&[][..], Vec::as_slice)
        };
        let is_script = |file: &Value| file["path"] == SCRIPT_PATH;
        let is_secret = |file: &Value| file["contentFrom"]["secret"].is_object();
        let runs = |it: &Value| it.as_str().is_some_and(|command| command.contains(SCRIPT_PATH));
        let files = list("files");
        Self {
            secret_file: files.iter().enumerate().find(|(_, it)| is_script(it) && is_secret(it)),
            has_file: files.iter().any(is_script),
            command: list(COMMANDS).iter().enumerate().find(|(_, it)| runs(it)),
        }
    }

    /// Returns JSON pointers to the entries in `object` that are those of a new object.
    fn added(kind: &MachineKind, object: &Value) -> Vec<String> {
        let entries = secret_entries();
        let wanted = [
            ("files", entries.files.into_iter().next()),
            (COMMANDS, entries.command.map(Value::from)),
        ];
        let find = |(name, wanted): (&str, Option<Value>)| {
            let list = [kind.fields, "/", name].concat();
            let items = object.pointer(&list)?.as_array()?;
            let at = items.iter().position(|it| Some(it) == wanted.as_ref())?;
            // The API admits no empty list.
            Some(if items.len() == 1 { list } else { format!("{list}/{at}") })
        };
        wanted.into_iter().filter_map(find).collect()
    }

    const fn is_any(&self) -> bool {
        self.has_file || self.command.is_some()
    }
}

/// An object with the patch that led to it.
struct PatchedTemplate {
    object: Value,
    patch: Vec<Value>,
}

impl PatchedTemplate {
    /// Removes the value at the JSON pointer `path`.
    fn remove(&mut self, path: &str) {
        self.patch.push(json!({ "op": "remove", "path": path }));
    }

    /// Inserts `value` into the list at the JSON pointer `list`, which is created with its parents.
    /// `at` is the index; `None` appends. A value in place of the list or of a parent stays.
    fn insert(&mut self, list: &str, at: Option<usize>, value: Value) {
        let mut place = &mut self.object;
        let mut path = String::new();
        let keys: Vec<&str> = list.split('/').skip(1).collect();
        for (depth, key) in keys.iter().copied().enumerate() {
            let Some(fields) = place.as_object_mut() else { return };
            path = format!("{path}/{key}");
            if fields.get(key).is_none_or(Value::is_null) {
                // Outside in: the list, and the objects around it that are missing, too.
                let missing = keys[depth + 1..].iter().rev();
                let added = missing.fold(json!([value]), |inner, key| {
                    Value::Object(Map::from_iter([((*key).to_owned(), inner)]))
                });
                fields.insert(key.to_owned(), added.clone());
                self.patch.push(json!({ "op": "add", "path": path, "value": added }));
                return;
            }
            let Some(next) = fields.get_mut(key) else { return };
            place = next;
        }
        let Some(items) = place.as_array_mut() else { return };
        let at = at.unwrap_or(items.len()).min(items.len());
        let index = if at == items.len() { "-".to_owned() } else { at.to_string() };
        let path = format!("{path}/{index}");
        self.patch.push(json!({ "op": "add", "path": path, "value": value }));
        items.insert(at, value);
    }
}
