//! The table of values, the schema and the values themselves say the same.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::chart::{chart, file};

/// Every value that is no mapping of further values, by its path, as JSON.
fn leaves(values: &Value, schema: &Value) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    walk(values, schema, "", &mut found);
    found
}

/// A mapping is opened where the schema says what may stand in it.
fn walk(value: &Value, schema: &Value, path: &str, found: &mut BTreeMap<String, String>) {
    match (value.as_object(), schema.get("properties")) {
        (Some(entries), Some(properties)) if !entries.is_empty() => {
            for (key, value) in entries {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let schema = properties.get(key);
                let schema = schema.unwrap_or_else(|| panic!("the schema does not know {path}"));
                walk(value, schema, &path, found);
            }
        }
        _ => drop(found.insert(path.to_owned(), value.to_string())),
    }
}

/// The rows of the table under «All values».
fn table() -> BTreeMap<String, String> {
    let readme = file("README.md");
    let (_, section) = readme.split_once("\n## All values\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split(" | ").collect();
        assert_eq!(cells.len(), 3, "{row}");
        let code = |cell: &str| cell.trim_start_matches("| ").trim_matches('`').to_owned();
        assert!(!cells[2].trim_matches([' ', '|']).is_empty(), "no meaning: {row}");
        (code(cells[0]), code(cells[1]))
    })
    .collect()
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn the_table_has_every_value_with_its_default() {
    let chart = chart();
    let values = chart.defaults();
    let schema: Value = serde_json::from_str(&file("values.schema.json")).unwrap();
    assert_eq!(table(), leaves(&values, &schema));
}

/// A key that only the schema knows could not be found by anybody.
#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn the_schema_knows_no_value_of_ours_that_is_not_in_the_values() {
    let chart = chart();
    let values = chart.defaults();
    let schema: Value = serde_json::from_str(&file("values.schema.json")).unwrap();
    compare(&schema, &values, "");
}

fn compare(schema: &Value, values: &Value, path: &str) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    for (key, schema) in properties {
        let palette = schema.get("$ref").is_some_and(|to| to == "#/definitions/palette");
        if palette || key == "global" {
            continue;
        }
        let value =
            values.get(key).unwrap_or_else(|| panic!("{path}.{key} is in the schema alone"));
        compare(schema, value, &format!("{path}.{key}"));
    }
}

#[test]
fn the_readme_prints_the_page_s_commands() {
    let readme = file("README.md");
    for command in [
        "helm upgrade --values values.yaml image-swap image-swap-*.tgz --install\n",
        "kubectl create --filename registry-secret.yaml\n",
        "kubectl get secret registry-info --namespace=jet-system \\\n  --output jsonpath='{.data.MIRROR_REGISTRIES}' | base64 --decode\n",
    ] {
        assert!(readme.contains(command), "{command}");
    }
}
