//! Texts of declarations, fixed and generated.

use std::fmt::Write as _;

use proptest::{collection, prelude::*, sample};
use serde_json::{Map, Value, json};

/// Returns the Secret `registry-info` in YAML, with `keys` as its `stringData`.
pub fn registry_info(keys: &[(&str, &str)]) -> String {
    let mut text = "apiVersion: v1\nkind: Secret\n\
                    metadata: {name: registry-info, namespace: jet-system}\nstringData:\n"
        .to_owned();
    for (key, value) in keys {
        // Every JSON string is a YAML string.
        let _ = writeln!(text, "  {key}: {}", json!(value));
    }
    text
}

/// Returns the keys of a declaration with a credential, whose rule mirrors Docker Hub below `path` of
/// `harbor.example.org`.
pub fn registry_keys(path: &str) -> [(&'static str, String); 6] {
    [
        ("DOMAIN", "harbor.example.org".to_owned()),
        ("BASE_PATH", String::new()),
        ("USERNAME", "robot".to_owned()),
        ("PASSWORD", "hunter2-hunter2".to_owned()),
        ("INSECURE", "false".to_owned()),
        ("MIRROR_REGISTRIES", format!("docker.io::harbor.example.org/{path}")),
    ]
}

/// Returns the Secret in which the controller of the release `image-swap` stores the declaration
/// in force, with the `keys` of `registry-info`.
pub fn last_good<K: Into<String>>(
    namespace: &str,
    revision: u64,
    keys: impl IntoIterator<Item = (K, String)>,
) -> Value {
    let data: Map<String, Value> =
        keys.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
    let declaration = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": "registry-info", "namespace": "jet-system" },
        "type": "Opaque",
        "stringData": data,
    });
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {
            "name": "image-swap-last-good", "namespace": namespace,
            "annotations": { "image-swap.io/revision": revision.to_string() },
        },
        "stringData": { "declaration": format!("{declaration:#}\n"), "source": "registry-info" },
    })
}

/// Returns a strategy for sources of rules: common ones, and those of `more`.
pub fn sources(more: &[&'static str]) -> impl Strategy<Value = String> + use<> {
    let common =
        ["docker.io", "gcr.io", "quay.io", "quay.io:443", "docker.io/a/b", "default"].as_slice();
    sample::select([common, more].concat()).prop_map(str::to_owned)
}

/// Returns a strategy for lists of one to five rules from `source` to one of `targets`, joined by
/// `separator`.
pub fn lists(
    source: impl Strategy<Value = String>,
    targets: &'static [&'static str],
    separator: &'static str,
) -> impl Strategy<Value = String> {
    let rule = (source, sample::select(targets));
    let rule = rule.prop_map(|(source, target)| [&source, "::", target].concat());
    collection::vec(rule, 1..6).prop_map(move |rules| rules.join(separator))
}
