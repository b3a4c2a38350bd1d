//! Keys, strings and values of TOML in one canonical spelling.

use std::{collections::BTreeMap, fmt::Write as _};

use toml_edit::{ArrayOfTables, InlineTable, Item, TableLike, Value};

/// Keys from the root to a value.
pub type Path = Vec<String>;

/// All values of a text by their paths, in the canonical spelling. An empty table is `{}`.
pub type Leaves = BTreeMap<Path, String>;

/// Returns `text` as a basic string of TOML 1.0.
pub fn string(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Returns `name` as a key, with quotes only if they are necessary.
pub(super) fn key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(bare) { name.to_owned() } else { string(name) }
}

/// Returns `keys` as one dotted key.
pub(super) fn dotted(keys: &[&str]) -> String {
    keys.iter().map(|name| key(name)).collect::<Vec<_>>().join(".")
}

/// Returns `path` as one dotted key, for a message.
pub fn shown(path: &[String]) -> String {
    dotted(&path.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Adds the values of `table`, which is at `path`, to `leaves`.
pub(super) fn of_table(table: &dyn TableLike, path: &mut Path, leaves: &mut Leaves) {
    if table.is_empty() && !path.is_empty() {
        leaves.insert(path.clone(), "{}".to_owned());
    }
    for (key, item) in table.iter() {
        path.push(key.to_owned());
        match item.as_table_like() {
            Some(table) => of_table(table, path, leaves),
            None => drop(leaves.insert(path.clone(), of_item(item))),
        }
        path.pop();
    }
}

fn of_item(item: &Item) -> String {
    match item {
        Item::None => String::new(),
        Item::Value(value) => of_value(value),
        Item::Table(table) => of_members(table),
        Item::ArrayOfTables(tables) => of_tables(tables),
    }
}

fn of_value(value: &Value) -> String {
    match value {
        Value::String(text) => string(text.value()),
        Value::Integer(number) => number.value().to_string(),
        Value::Float(number) => {
            let text = number.value().to_string();
            if text.contains(['.', 'e', 'n']) { text.to_lowercase() } else { text + ".0" }
        }
        Value::Boolean(bit) => bit.value().to_string(),
        Value::Datetime(time) => time.value().to_string(),
        Value::Array(array) => {
            format!("[{}]", array.iter().map(of_value).collect::<Vec<_>>().join(", "))
        }
        Value::InlineTable(table) => of_inline(table),
    }
}

fn of_tables(tables: &ArrayOfTables) -> String {
    format!("[{}]", tables.iter().map(|table| of_members(table)).collect::<Vec<_>>().join(", "))
}

fn of_inline(table: &InlineTable) -> String {
    of_members(table)
}

fn of_members(table: &dyn TableLike) -> String {
    let members: BTreeMap<&str, String> =
        table.iter().map(|(key, item)| (key, of_item(item))).collect();
    let members: Vec<String> =
        members.iter().map(|(name, value)| format!("{} = {value}", key(name))).collect();
    if members.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", members.join(", ")) }
}
