//! Printed documents, read again.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::yaml::{NodeId, NodeKind, Tree};

#[test]
fn documents_are_block_yaml() {
    let value = json!({
        "kind": "X",
        "a": [{ "b": 1, "c": ["x", "1"] }, {}, [], "yes"],
        "d": { "e": "l1\nl2\n", "f": "l1\n\nl2", "g": {}, "h": null, "i": true, "j": ": x" },
    });
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
    assert_eq!(print(&value), expected);
}

#[test]
fn list_is_a_document() {
    let value = json!([{ "a": 1, "b": ["x\ny\n"] }, "z", {}]);
    assert_eq!(print(&value), "- a: 1\n  b:\n    - |\n      x\n      y\n- z\n- {}\n");
    assert_eq!(print(&json!([])), "[]\n");
}

/// Returns the node `id` of `tree`, every scalar as text.
fn texts(tree: &Tree<'_>, id: NodeId) -> Value {
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
    fn printed_documents_read_the_same(value in values(), in_list: bool) {
        let value = if in_list { json!([value]) } else { json!({ "value": value }) };
        let text = print(&value);
        let tree = Tree::parse(&text).unwrap();
        prop_assert_eq!(texts(&tree, tree.documents[0]), value, "{}", text);
    }
}
