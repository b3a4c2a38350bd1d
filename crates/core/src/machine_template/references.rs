//! Objects that refer to the Secret with the script. Their machines cannot join without it.

use std::fmt;

use serde_json::Value;

use super::plan::MACHINES;
use crate::{labels::BOOTSTRAP_SECRET, render::cluster_api::MachineKind};

/// The longest list in words, in bytes: a note of an Event has at most 1024.
const LONGEST: usize = 900;

/// An object that refers to the Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptReference {
    /// Kind of the object.
    pub kind: &'static str,
    /// Name of the object.
    pub name: String,
}

impl fmt::Display for ScriptReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.kind, self.name)
    }
}

impl ScriptReference {
    /// Returns the reference of `object` of `kind`; `None` if new machines need no Secret for it. The
    /// configuration of a single machine refers to the Secret until its bootstrap data exist.
    pub fn of(kind: &MachineKind, object: &Value) -> Option<Self> {
        let files = object.pointer(&[kind.fields, "/files"].concat())?.as_array()?;
        let refers = |file: &Value| file["contentFrom"]["secret"]["name"] == BOOTSTRAP_SECRET;
        let has_data = object["status"]["dataSecretName"].as_str().is_some_and(|it| !it.is_empty());
        let owners = object["metadata"]["ownerReferences"].as_array();
        let is_of_machine = kind.name == "KubeadmConfig"
            && owners.is_some_and(|all| {
                all.iter().any(|it| it["kind"].as_str().is_some_and(|it| MACHINES.contains(&it)))
            });
        if !files.iter().any(refers) || (is_of_machine && has_data) {
            return None;
        }
        let name = object["metadata"]["name"].as_str()?.to_owned();
        Some(Self { kind: kind.name, name })
    }
}

/// Returns `references` in words, as many as an Event can contain; `None` without any.
pub fn listed(references: &[ScriptReference]) -> Option<String> {
    let mut text = references.first()?.to_string();
    for (index, reference) in references.iter().enumerate().skip(1) {
        let next = format!(", {reference}");
        if text.len() + next.len() > LONGEST {
            return Some(format!("{text} and {} more", references.len() - index));
        }
        text += &next;
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        machine_template::reviewed_kinds,
        render::cluster_api::{SCRIPT_PATH, secret_entries},
    };

    /// Returns an object of `kind` with `files`.
    fn object(kind: &MachineKind, files: &Value) -> Value {
        let inner = |value, key: &str| json!({ key: value });
        let keys: Vec<&str> = kind.fields.split('/').skip(1).collect();
        let mut object = keys.into_iter().rev().fold(json!({ "files": files }), inner);
        object["metadata"] = json!({ "name": "a" });
        object
    }

    #[test]
    fn objects_with_the_secret_refer_to_it() {
        for kind in reviewed_kinds() {
            let files = json!([{ "path": "/a", "content": "a" }, secret_entries().files[0]]);
            let found = ScriptReference::of(kind, &object(kind, &files)).unwrap();
            assert_eq!(found.to_string(), format!("{} a", kind.name));
            let inline = json!([{ "path": SCRIPT_PATH, "content": "a" }]);
            let other = json!([{ "contentFrom": { "secret": { "name": "other" } } }]);
            for files in [inline, other, json!([]), json!("broken"), Value::Null] {
                assert_eq!(ScriptReference::of(kind, &object(kind, &files)), None, "{files}");
            }
        }
    }

    #[test]
    fn machines_with_bootstrap_data_need_no_secret() {
        let kind = reviewed_kinds().find(|kind| kind.name == "KubeadmConfig").unwrap();
        let mut config = object(kind, &json!(secret_entries().files));
        config["metadata"]["ownerReferences"] = json!([{ "kind": "Machine", "name": "m" }]);
        assert!(ScriptReference::of(kind, &config).is_some());
        config["status"] = json!({ "dataSecretName": "" });
        assert!(ScriptReference::of(kind, &config).is_some());
        config["status"] = json!({ "dataSecretName": "a" });
        assert_eq!(ScriptReference::of(kind, &config), None);
        // The next machine of a pool gets other data.
        config["metadata"]["ownerReferences"] = json!([{ "kind": "MachinePool", "name": "m" }]);
        assert!(ScriptReference::of(kind, &config).is_some());
    }

    #[test]
    fn long_lists_end_with_a_number() {
        let reference = |name: String| ScriptReference { kind: "KubeadmConfig", name };
        assert_eq!(listed(&[]), None);
        let two = ["a", "b"].map(|name| reference(name.to_owned()));
        assert_eq!(listed(&two).unwrap(), "KubeadmConfig a, KubeadmConfig b");
        let many: Vec<_> = (0..10_000).map(|it| reference(format!("pool-{it}"))).collect();
        let text = listed(&many).unwrap();
        assert!(text.len() < 1000, "{}", text.len());
        let (named, more) = text.rsplit_once(" and ").unwrap();
        let named = named.split(", ").count();
        assert_eq!(more, format!("{} more", many.len() - named));
        // The longest name of an object.
        let long = listed(&[reference("a".repeat(253)), reference("b".repeat(253))]).unwrap();
        assert!(long.contains(&"b".repeat(253)));
    }
}
