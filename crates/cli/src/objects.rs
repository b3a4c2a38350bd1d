//! Objects of Kubernetes as YAML.

use std::fmt::Write as _;

use serde_json::Value;

/// Appends `value`, an object, as a document of YAML.
pub(crate) fn document(value: &Value, out: &mut String) {
    if let Value::Object(fields) = value {
        for (key, value) in fields {
            out.push_str(&scalar(key));
            out.push(':');
            append(value, 0, out);
        }
    }
}

/// Appends `value` behind a key or a hyphen, whose column is `indent`.
fn append(value: &Value, indent: usize, out: &mut String) {
    let blank = " ".repeat(indent);
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            out.push('\n');
            for (key, value) in fields {
                let _ = write!(out, "{blank}  {}:", scalar(key));
                append(value, indent + 2, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            for item in items {
                let _ = write!(out, "{blank}  -");
                append_item(item, indent + 2, out);
            }
        }
        Value::String(text) if is_block(text) => {
            out.push_str(if text.ends_with('\n') { " |\n" } else { " |-\n" });
            for line in text.lines() {
                let _ =
                    if line.is_empty() { writeln!(out) } else { writeln!(out, "{blank}  {line}") };
            }
        }
        Value::String(text) => {
            let _ = writeln!(out, " {}", scalar(text));
        }
        other => {
            let _ = writeln!(out, " {other}");
        }
    }
}

/// Appends `item` behind a hyphen in the column `indent`. The first field is on the same line.
fn append_item(item: &Value, indent: usize, out: &mut String) {
    let Value::Object(fields) = item else { return append(item, indent, out) };
    if fields.is_empty() {
        out.push_str(" {}\n");
    }
    for (number, (key, value)) in fields.iter().enumerate() {
        let start = if number == 0 { " ".to_owned() } else { " ".repeat(indent + 2) };
        let _ = write!(out, "{start}{}:", scalar(key));
        append(value, indent + 2, out);
    }
}

/// Returns true if `text` has lines that a literal block keeps.
fn is_block(text: &str) -> bool {
    let is_kept = |it: char| it == '\n' || (' '..='~').contains(&it);
    text.contains('\n')
        && !text.starts_with([' ', '\n'])
        && !text.ends_with("\n\n")
        && !text.trim_end_matches('\n').is_empty()
        && text.chars().all(is_kept)
}

/// Returns `text` as a scalar: plain if every reader takes it for a string, else quoted.
fn scalar(text: &str) -> String {
    const WORDS: [&str; 12] =
        ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf", "infinity"];
    let is_plain = text.starts_with(|it: char| it.is_ascii_alphabetic())
        && text.bytes().all(|it| it.is_ascii_alphanumeric() || b"._-/".contains(&it))
        && !WORDS.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is_plain { text.to_owned() } else { Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use image_swap_text::yaml::Tree;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_are_block_yaml() {
        let value = json!({
            "kind": "X",
            "a": [{ "b": 1, "c": ["x", "1"] }, {}, [], "yes"],
            "d": { "e": "l1\nl2\n", "f": "l1\n\nl2", "g": {}, "h": null, "i": true, "j": ": x" },
        });
        let mut out = String::new();
        document(&value, &mut out);
        let expected = "\
a:
  - b: 1
    c:
      - x
      - \"1\"
  - {}
  - []
  - \"yes\"
d:
  e: |
    l1
    l2
  f: |-
    l1

    l2
  g: {}
  h: null
  i: true
  j: \": x\"
kind: X
";
        assert_eq!(out, expected);
    }

    /// Returns the node `id` of `tree`, every scalar as text.
    fn texts(tree: &Tree<'_>, id: image_swap_text::yaml::NodeId) -> Value {
        use image_swap_text::yaml::NodeKind;
        match &tree.node(id).kind {
            NodeKind::Mapping(entries) => entries
                .iter()
                .map(|(key, value)| (tree.scalar(*key).unwrap().to_owned(), texts(tree, *value)))
                .collect(),
            NodeKind::Sequence(items) => items.iter().map(|it| texts(tree, *it)).collect(),
            _ => Value::from(tree.scalar(id).unwrap()),
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let text = prop_oneof![any::<String>(), "[ -~\n]{0,20}", "[a-z]{1,5}"];
        let leaf = text.prop_map(Value::from);
        leaf.prop_recursive(3, 24, 4, |inner| {
            let keys = prop_oneof![any::<String>(), "[a-z]{1,5}"];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(keys, inner, 0..4)
                    .prop_map(|map| map.into_iter().collect::<Value>()),
            ]
        })
    }

    proptest! {
        #[test]
        fn printed_documents_read_the_same(value in values()) {
            let value = json!({ "value": value });
            let mut out = String::new();
            document(&value, &mut out);
            let tree = Tree::parse(&out).unwrap();
            prop_assert_eq!(texts(&tree, tree.documents[0]), value, "{}", out);
        }
    }
}
