//! YAML as JSON, as the API server reads it.

use image_swap_text::yaml::{NodeId, NodeKind, Style, Tree};
use serde_json::{Map, Number, Value};

/// Returns the value of a text with one document. Panics if readers of YAML differ
/// about it: duplicate keys, tags, and plain scalars of several meanings.
pub(crate) fn one(text: &str) -> Value {
    let tree = Tree::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(tree.documents.len(), 1, "one document in\n{text}");
    value(&tree, tree.documents[0])
}

/// Returns the values of all documents of a text, under the same conditions.
pub(crate) fn all(text: &str) -> Vec<Value> {
    let tree = Tree::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    tree.documents.iter().map(|document| value(&tree, *document)).collect()
}

fn value(tree: &Tree<'_>, id: NodeId) -> Value {
    let node = tree.node(tree.resolve(id));
    assert!(!node.tagged, "line {}: a tag", node.place.line);
    match &node.kind {
        NodeKind::Scalar(text, Style::Plain) => plain(text),
        NodeKind::Scalar(text, _) => Value::String(text.to_string()),
        NodeKind::Sequence(items) => items.iter().map(|item| value(tree, *item)).collect(),
        NodeKind::Mapping(entries) => {
            let mut map = Map::new();
            for (key, entry) in entries {
                let key = tree.scalar(*key).unwrap();
                let earlier = map.insert(key.to_owned(), value(tree, *entry));
                assert!(earlier.is_none(), "line {}: a second {key}", node.place.line);
            }
            Value::Object(map)
        }
        NodeKind::Alias(_) => unreachable!("an alias was resolved"),
    }
}

fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => text.parse::<Number>().map_or_else(
            |_| {
                assert!(!is_ambiguous(text), "expected quotes around {text}");
                Value::String(text.to_owned())
            },
            Value::Number,
        ),
    }
}

/// Returns true if some version of YAML reads a boolean, null or number where another one
/// reads a string: `yes`, `0123`, `1_000`, `12:30`.
fn is_ambiguous(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let words = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", ".nan"];
    let digits = lower.trim_start_matches(['+', '-']).replace('_', "");
    let is_number = |part: &str| {
        let based = part.strip_prefix('0').and_then(|rest| rest.strip_prefix(['x', 'o', 'b']));
        let is_hex = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_hexdigit());
        let begins = part.starts_with(|first: char| first == '.' || first.is_ascii_digit());
        begins && (part.parse::<f64>().is_ok() || based.is_some_and(is_hex))
    };
    words.contains(&lower.as_str()) || digits == ".inf" || digits.split(':').all(is_number)
}

#[test]
fn scalars_are_typed_by_their_form() {
    let text = "{a: 1, b: '1', c: 1.5, d: null, e: ~, f: , g: true, h: \"true\", i: 0.0.0.0:10250, \
                j: 1.20.2, k: 5m, l: nginx:1.27, m: [], n: 1000000000}";
    let expected = serde_json::json!({
        "a": 1, "b": "1", "c": 1.5, "d": null, "e": null, "f": null, "g": true, "h": "true",
        "i": "0.0.0.0:10250", "j": "1.20.2", "k": "5m", "l": "nginx:1.27", "m": [],
        "n": 1_000_000_000,
    });
    assert_eq!(one(text), expected);
}

#[test]
fn scalars_of_two_meanings_are_refused() {
    for text in ["yes", "No", "on", "Y", "0123", "1_000", "0x1f", "+5", "12:30", ".5", "-.inf"] {
        assert!(is_ambiguous(text), "{text}");
    }
    for text in ["yesterday", "10.0.0.1", "v1", "5m", "infinity", "nan", "a:1", "sha256:0123"] {
        assert!(!is_ambiguous(text), "{text}");
    }
}

#[test]
#[should_panic(expected = "line 1: a second a")]
fn second_key_is_refused() {
    one("{a: 1, a: 2}");
}
