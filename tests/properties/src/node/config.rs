//! Generated texts of `config.toml`, and their values.

use std::collections::BTreeMap;

use toml_edit::{DocumentMut, Item, TableLike};

use crate::choices::Choices;

/// Keys of tables and values.
const NAMES: [&str; 12] = [
    "'io.containerd.grpc.v1.cri'",
    "registry",
    "mirrors",
    "\"docker.io\"",
    "config_path",
    "configs",
    "\"io.containerd.cri.v1.images\"",
    "\"m.io\"",
    "endpoint",
    "tls",
    "a",
    "containerd",
];
/// Values of every type.
const VALUES: [&str; 14] = [
    "1",
    "\"/etc/containerd/certs.d\"",
    "\"/etc/containerd/certs.d:/etc/containerd/other\"",
    "\"\"",
    "[\"https://m.io/v2/x\", 'k.io']",
    "{}",
    "true",
    "-2.5",
    "'l'",
    "\"\"\"\nm\n\"\"\"",
    "[1, [2]]",
    "[\n  'a', # c\n]",
    "{ a = 1, registry = { config_path = \"/x\" } }",
    "{ a.b = 1, a.c = 'x' }",
];

/// Generates TOML with tables below `root`.
pub(super) fn text(c: &mut Choices<'_>, root: &str) -> String {
    let newline = if c.one_in(6) { "\r\n" } else { "\n" };
    let mut text = String::new();
    let mut add = |line: String| {
        let more = [&text, &line.replace('\n', newline), newline].concat();
        // Lines that make the text invalid TOML are skipped.
        if more.parse::<DocumentMut>().is_ok() {
            text = more;
        }
    };
    if root == "plugins" && !c.one_in(8) {
        add(["version = ", c.of(&["2", "2", "3", "4", "1"])].concat());
    }
    if c.one_in(3) {
        add("imports = [\"/etc/containerd/conf.d/*.toml\"]".to_owned());
    }
    for _ in 0..c.below(8) {
        let mut path = vec![root];
        // Most lines are in the tables of registries.
        if !c.one_in(3) {
            path.extend([c.of(&[NAMES[0], NAMES[6]]), "registry"]);
        }
        path.extend((0..c.below(4)).map(|_| c.of(&NAMES)));
        let blanks = c.of(&["", "  ", "\t"]);
        let comment = c.of(&["", " # c", "#"]);
        add(match c.below(5) {
            0 | 1 => [blanks, "[", &path.join("."), "]", comment].concat(),
            2 => [blanks, c.of(&NAMES), " = ", c.of(&VALUES), comment].concat(),
            3 => [blanks, &path.join("."), " = ", c.of(&VALUES), comment].concat(),
            _ => c.of(&["", "# comment", "## template: jinja", "[[x]]"]).to_owned(),
        });
    }
    if c.one_in(4) { text.trim_end().to_owned() } else { text }
}

/// Returns every value by its path, independent of order and spelling.
pub(super) fn meaning(text: &str) -> BTreeMap<String, String> {
    let document: DocumentMut =
        text.parse().unwrap_or_else(|error| panic!("expected TOML: {error} in {text:?}"));
    let mut meaning = BTreeMap::new();
    table(document.as_table(), "", &mut meaning);
    meaning
}

/// Adds the values of a table at `path` to `meaning`.
fn table(found: &dyn TableLike, path: &str, meaning: &mut BTreeMap<String, String>) {
    if found.is_empty() && !path.is_empty() {
        meaning.insert(path.to_owned(), "{}".to_owned());
    }
    for (key, item) in found.iter() {
        let path = if path.is_empty() { key.to_owned() } else { [path, "/", key].concat() };
        match item.as_table_like() {
            Some(found) => table(found, &path, meaning),
            None => drop(meaning.insert(path, value(item))),
        }
    }
}

/// Returns a value in one spelling.
fn value(item: &Item) -> String {
    if let Some(array) = item.as_array() {
        let items = array.iter().map(|found| value(&Item::Value(found.clone())));
        return format!("[{}]", items.collect::<Vec<_>>().join(", "));
    }
    match item {
        Item::Value(toml_edit::Value::String(text)) => format!("{:?}", text.value()),
        Item::Value(value) => {
            let mut value = value.clone();
            value.decor_mut().clear();
            value.to_string()
        }
        other => other.to_string().trim().to_owned(),
    }
}
