//! Texts of declarations, fixed and generated.

use std::fmt::Write as _;

use proptest::{collection, prelude::*, sample};
use serde_json::json;

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
