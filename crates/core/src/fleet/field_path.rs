//! Paths of fields, as an API server writes them in a refusal.
//!
//! Source: structured-merge-diff, `fieldpath/element.go`: `.FIELD`, `[KEY=VALUE,KEY=VALUE]` and
//! `[=VALUE]`, with JSON values.

use serde_json::{Deserializer, Value};

/// Number of keys that identify an element of a list.
const KEYS: usize = 4;

/// Returns the longest beginning of the path `text` that leads to a field of `object`; empty if none
/// does. The result has only texts of `object`.
pub(super) fn known(text: &str, object: &Value) -> String {
    if let Some(after) = text.strip_prefix('.') {
        let leads = |key: &str| {
            let rest = after.strip_prefix(key)?;
            (rest.is_empty() || rest.starts_with(['.', '['])).then_some(rest)
        };
        let fields = object.as_object().into_iter().flatten();
        let found = fields.filter_map(|(key, value)| Some((key, value, leads(key)?)));
        // A name may contain dots.
        let longest = found.max_by_key(|(key, ..)| key.len());
        return longest.map_or_else(String::new, |(key, value, rest)| {
            format!(".{key}{}", known(rest, value))
        });
    }
    let items = object.as_array().map(Vec::as_slice).unwrap_or_default();
    let Some((keys, rest)) = element(text) else { return String::new() };
    let Some(item) = items.iter().find(|item| has(item, &keys)) else { return String::new() };
    let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("[{}]{}", keys.join(","), known(rest, item))
}

/// Parses the keys of an element of a list at the beginning of `text`. Returns them with the rest.
fn element(text: &str) -> Option<(Vec<(&str, Value)>, &str)> {
    let mut rest = text.strip_prefix('[')?;
    let mut keys = Vec::new();
    while keys.len() < KEYS {
        let (key, value) = rest.split_once('=')?;
        let mut values = Deserializer::from_str(value).into_iter::<Value>();
        keys.push((key, values.next()?.ok()?));
        rest = value.get(values.byte_offset()..)?;
        if let Some(rest) = rest.strip_prefix(']') {
            return Some((keys, rest));
        }
        rest = rest.strip_prefix(',')?;
    }
    None
}

/// Returns true if `item` is the element with `keys`.
fn has(item: &Value, keys: &[(&str, Value)]) -> bool {
    if let [("", value)] = keys {
        return item == value;
    }
    keys.iter().any(|(key, _)| item.get(key).is_some())
        && keys.iter().all(|(key, value)| match item.get(key) {
            Some(found) => found == value,
            // The API server adds the default.
            None => *key == "protocol" && value == "TCP",
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn object() -> Value {
        json!({
            "metadata": { "annotations": { "a": "1", "a.b/c": "2" }, "finalizers": ["x"] },
            "spec": { "containers": [
                { "name": "one", "ports": [{ "containerPort": 80 }] },
                { "name": "two", "image": "i" },
            ] },
        })
    }

    #[test]
    fn path_of_the_object_is_whole() {
        for path in [
            ".metadata.annotations.a",
            ".metadata.annotations.a.b/c",
            ".metadata.finalizers",
            r#".metadata.finalizers[="x"]"#,
            r#".spec.containers[name="two"].image"#,
            r#".spec.containers[name="one"].ports[containerPort=80,protocol="TCP"]"#,
        ] {
            assert_eq!(known(path, &object()), path);
        }
    }

    #[test]
    fn other_path_ends_at_the_last_known_field() {
        for (path, expected) in [
            (".call 555", ""),
            ("call 555", ""),
            ("", ""),
            (".spec.call 555", ".spec"),
            (".metadata.annotations.a.call", ".metadata.annotations.a"),
            (r#".spec.containers[name="call"].image"#, ".spec.containers"),
            (r#".spec.containers[name="one",call="555"]"#, ".spec.containers"),
            (r#".spec.containers[call="555"]"#, ".spec.containers"),
            (".spec.containers[1].image", ".spec.containers"),
            (r#".spec.containers[name="tw"#, ".spec.containers"),
            (r#".metadata.finalizers[="call"]"#, ".metadata.finalizers"),
        ] {
            assert_eq!(known(path, &object()), expected, "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_text_of_another_object_is_shown(path in r#"(\.spec|\.containers|\[name="one"\]|\[|=|"|,|\]|\.|call){0,8}"#) {
            prop_assert!(!known(&path, &object()).contains("call"));
        }
    }
}
