//! YAML as JSON.

use image_swap_text::yaml::{NodeId, NodeKind, Style, Tree};
use serde_json::{Map, Number, Value};

use super::BundleError;

/// Plain scalars that YAML 1.1, which kubectl reads, takes for booleans, and YAML 1.2 for strings.
const AMBIGUOUS: [&str; 6] = ["y", "n", "yes", "no", "on", "off"];

/// Returns the node `id` as JSON.
///
/// # Errors
/// Returns an error for an alias, a tag, a key that is no string or occurs twice, and a plain
/// scalar that kubectl and YAML 1.2 read differently.
pub(super) fn convert(tree: &Tree<'_>, id: NodeId) -> Result<Value, BundleError> {
    let node = tree.node(id);
    let error = |reason: String| Err(BundleError::new(node.place, reason));
    if node.tagged {
        return error("expected a value without a tag".to_owned());
    }
    match &node.kind {
        NodeKind::Alias(_) => error("expected a value, found an alias".to_owned()),
        NodeKind::Scalar(text, Style::Plain) => match plain(text) {
            Some(value) => Ok(value),
            None => error(format!("expected a quoted string, found the ambiguous value {text}")),
        },
        NodeKind::Scalar(text, _) => Ok(Value::String(text.clone().into_owned())),
        NodeKind::Sequence(items) => items.iter().map(|item| convert(tree, *item)).collect(),
        NodeKind::Mapping(entries) => {
            let mut fields = Map::new();
            for (key, value) in entries {
                let place = tree.node(*key).place;
                let Some(name) = tree.scalar(*key) else {
                    return Err(BundleError::new(place, "expected a string as a key"));
                };
                if fields.insert(name.to_owned(), convert(tree, *value)?).is_some() {
                    let reason = format!("expected the key {name} once");
                    return Err(BundleError::new(place, reason));
                }
            }
            Ok(Value::Object(fields))
        }
    }
}

/// Returns the value of a plain scalar; `None` if it is ambiguous.
fn plain(text: &str) -> Option<Value> {
    Some(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => match serde_json::from_str::<Number>(text) {
            Ok(number) => Value::Number(number),
            Err(_) if is_ambiguous(text) => return None,
            Err(_) => Value::String(text.to_owned()),
        },
    })
}

/// Returns true for a boolean or a number of YAML 1.1 that is no number of JSON.
fn is_ambiguous(text: &str) -> bool {
    let digits = text.trim_start_matches(['+', '-']);
    let has_digit = digits.starts_with(|it: char| it.is_ascii_digit() || it == '.');
    let radix = ["0x", "0X", "0o", "0O", "0b", "0B"].into_iter();
    let is_radix = || {
        let mut rest = radix.filter_map(|it| digits.strip_prefix(it));
        rest.any(|it| it.chars().all(|it| it.is_ascii_hexdigit() || it == '_'))
    };
    let is_number = || digits.replace('_', "").parse::<f64>().is_ok();
    let is_sexagesimal = || {
        digits.contains(':')
            && digits
                .split(':')
                .all(|it| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit()))
    };
    let is_special = || matches!(digits.to_ascii_lowercase().as_str(), ".inf" | ".nan");
    AMBIGUOUS.iter().any(|it| text.eq_ignore_ascii_case(it))
        || has_digit && (is_radix() || is_number() || is_sexagesimal() || is_special())
}

#[cfg(test)]
mod tests {
    use image_swap_text::position::Position;
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<Value, BundleError> {
        let tree = Tree::parse(text).unwrap();
        convert(&tree, tree.documents[0])
    }

    #[test]
    fn scalars_have_the_types_of_kubectl() {
        let text =
            "{a: 1, b: -1.5, c: true, d: null, e: '1', f: 5m, g: 1.2.3, h: ~, i: 10%, j: x:y}";
        let expected = json!({
            "a": 1, "b": -1.5, "c": true, "d": null, "e": "1", "f": "5m", "g": "1.2.3", "h": null,
            "i": "10%", "j": "x:y",
        });
        assert_eq!(read(text), Ok(expected));
        assert_eq!(read("a: |\n  x\n  y\n"), Ok(json!({ "a": "x\ny\n" })));
    }

    #[test]
    fn ambiguous_scalars_are_errors() {
        let all = ["yes", "Off", "n", "0x1F", "017", "1_000", "+1", ".5", ".inf", "12:30", "0o7"];
        for text in all {
            let error = read(&format!("a: {text}")).unwrap_err();
            assert_eq!(error.place, Position { line: 1, column: 4 });
            assert!(error.message.contains(text), "{error}");
            assert_eq!(read(&format!("a: '{text}'")), Ok(json!({ "a": text })));
        }
    }

    #[test]
    fn aliases_tags_and_double_keys_are_errors() {
        for text in ["a: &x 1\nb: *x", "a: !!str 1", "a: 1\na: 2", "? [a]\n: 1"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
