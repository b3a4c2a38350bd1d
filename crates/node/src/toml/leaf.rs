//! What a TOML says, whatever it looks like.

use std::collections::BTreeMap;

use toml_edit::{ArrayOfTables, InlineTable, Item, TableLike, Value};

use super::syntax::{dotted, key, string};

/// Keys from the root.
pub(crate) type Path = Vec<String>;

/// Every value by its path, as TOML in one spelling; an empty table is `{}`.
pub(crate) type Leaves = BTreeMap<Path, String>;

/// `path` as people write it.
pub(crate) fn shown(path: &[String]) -> String {
    dotted(&path.iter().map(String::as_str).collect::<Vec<_>>())
}

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
