use super::{NodeId, Tree, adapt::adapt};

/// Returns the scalar at `path` of the first document.
fn scalar<'t>(tree: &'t Tree<'_>, path: &str) -> &'t str {
    let root = tree.documents[0];
    tree.scalar(at(tree, root, path)).unwrap()
}

/// Returns the node at `path`, keys and indexes with dots between them, below `root`.
fn at(tree: &Tree<'_>, root: NodeId, path: &str) -> NodeId {
    path.split('.').fold(root, |node, key| match key.parse::<usize>() {
        Ok(index) => tree.items(node)[index],
        Err(_) => tree.get(node, key).unwrap_or_else(|| panic!("{key} of {path}")),
    })
}

#[test]
fn texts_accepted_by_libyaml_have_their_values() {
    for (text, path, value) in [
        ("a:\n  b: 'first\n  second'\n", "a.b", "first second"),
        ("a:\n  b: 'first\nsecond'\n  c: d\n", "a.c", "d"),
        ("a:\n  b: \"first\n\n\tsecond\"\n  c: d\n", "a.b", "first\nsecond"),
        ("a:\n- \"x\ny\"\n- z\n", "a.0", "x y"),
        ("? 'a\nb'\n: c\nd: 'e\nf'\n", "d", "e f"),
        ("a: &x !!str 'b\nc'\nd: *x\n", "d", "b c"),
        ("a: {\n\tb: c,\n\t  d: [\n\te, f\n\t]\n}\ng: h\n", "a.d.1", "f"),
        ("a:\n  b: {\n\tc: d\n\t\te }\n", "a.b.c", "d e"),
        ("a: 'b'# c\nd: [e]# f\ng: h\n", "g", "h"),
        ("a: [b,# c\n d]\n", "a.1", "d"),
        ("a: [-f, -, x]\nb: {c: -}\n", "a.1", "-"),
        ("a: \"it\\'s\"\n", "a", "it's"),
        ("a: |# c\n  'x\n  y\nb: 'c\nd'\n", "a", "'x\ny\n"),
        ("a: it's\nb: 'c\nd'\ne: it's\n", "b", "c d"),
        ("a: b\n  'c\nd: 'e\nf'\n", "a", "b 'c"),
        ("a: >-\n  x 'y\n\nb: \"c\nd\"\n", "b", "c d"),
        ("a: |2\n    'x\nb: \"c\nd\"\n", "a", "  'x\n"),
        ("# it's\na: \"c\nd\" # it's\ne: f\n", "e", "f"),
        ("a: \"c\r\nd\"\r\ne: f\r\n", "a", "c d"),
        ("a: b\u{feff}c\nd: \u{feff}\u{e000}e\n", "a", "b\u{feff}c"),
        ("a:\n  b: c\n  \u{feff}d: e\n", "a.\u{feff}d", "e"),
    ] {
        let tree = Tree::parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(scalar(&tree, path), value, "{text:?}");
    }
}

#[test]
fn later_byte_order_marks_are_skipped() {
    for text in [
        "a: b\n---\n\u{feff}a: c\n",
        "a: b\n---\n# d\n\u{feff}a: c\n",
        "a: b\n\u{feff}---\na: c\n",
        "\u{feff}a: b\n---\n\u{feff}\u{feff}a: c\n",
        "a: b\n...\n\u{feff}a: c\n",
    ] {
        let tree = Tree::parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(tree.documents.len(), 2, "{text:?}");
        let value = tree.get(tree.documents[1], "a").unwrap();
        assert_eq!(tree.scalar(value), Some("c"), "{text:?}");
        let range = tree.node(value).range.clone();
        assert_eq!(&text[range], "c");
    }
}

#[test]
fn adapted_nodes_have_positions_of_the_source() {
    let text = "ä: {\n\tb: 'x\ny',  c: -}\nd:\n  - 'e\nf'\n  - \"ü\\'\": g # h\n";
    let tree = Tree::parse(text).unwrap();
    let raw = |path: &str| {
        let node = tree.node(at(&tree, tree.documents[0], path));
        (&text[node.range.clone()], node.place.line, node.place.column)
    };
    assert_eq!(raw("ä.b"), ("'x\ny'", 2, 5));
    assert_eq!(raw("ä.c"), ("-", 3, 9));
    assert_eq!(raw("d.0"), ("'e\nf'", 5, 5));
    assert_eq!(raw("d.1.ü'"), ("g", 7, 12));
}

#[test]
fn adapted_errors_have_positions_of_the_source() {
    let error = Tree::parse("a:\n  b: 'c\nd'\ne: f: g\n").unwrap_err();
    assert_eq!((error.place.line, error.place.column), (4, 5), "{error}");
}

#[test]
fn valid_text_is_not_adapted() {
    for text in ["", "a: b", "a: 'b\n   c'\n", "- [a,\n b]\n", "a: |\n  b # c\n", "\u{feff}a: b"] {
        assert!(adapt(text).is_none(), "{text:?}");
    }
}

#[test]
fn alias_of_open_anchor_is_rejected() {
    for text in ["a: &x [1, *x]\n", "a: &x\n  b: *x\n"] {
        let error = Tree::parse(text).unwrap_err();
        assert!(error.message.contains("inside the collection"), "{error}");
    }
    assert!(Tree::parse("a: &x [1]\nb: &x [*x]\n").is_err(), "the inner anchor is open");
    assert!(Tree::parse("a: &x [1]\nb: &y [*x]\n").is_ok());
}
