//! The table of values, the schema and the values contain the same keys.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::chart::{chart, file};

/// Returns every value that is not a mapping of further values, by its path, as JSON.
fn leaves(values: &Value, schema: &Value) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    walk(values, schema, "", &mut found);
    found
}

/// Opens a mapping if the schema lists its keys.
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

/// Returns the rows of the table under «All values».
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
fn table_has_every_value_and_default() {
    let chart = chart();
    let values = chart.defaults();
    let schema: Value = serde_json::from_str(&file("values.schema.json")).unwrap();
    assert_eq!(table(), leaves(&values, &schema));
}

/// Returns the paths of values with a helm-docs comment (`# -- …`) directly above them.
fn commented_values() -> Vec<String> {
    let values = file("values.yaml");
    let mut parents: Vec<(usize, &str)> = Vec::new();
    let (mut commented, mut has_comment) = (Vec::new(), false);
    for line in values.lines() {
        let text = line.trim_start();
        if text.starts_with('#') {
            has_comment |= text.starts_with("# -- ");
            continue;
        }
        let indent = line.len() - text.len();
        if let Some((key, _)) = text.split_once(':').filter(|_| !text.starts_with('-')) {
            parents.retain(|(at, _)| *at < indent);
            parents.push((indent, key));
            let path: Vec<&str> = parents.iter().map(|(_, key)| *key).collect();
            if has_comment {
                commented.push(path.join("."));
            }
        }
        has_comment = false;
    }
    commented
}

#[test]
fn every_value_has_a_comment_for_helm_docs() {
    let mut commented = commented_values();
    commented.sort_unstable();
    assert_eq!(commented, table().into_keys().collect::<Vec<_>>());
}

/// Requires every key in values.yaml: users cannot find one that only the schema contains.
#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn values_contain_every_key_of_the_schema() {
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
fn readme_has_the_commands_of_palette() {
    let readme = file("README.md");
    for command in [
        "helm upgrade --values values.yaml image-swap image-swap-*.tgz --install\n",
        "kubectl create --filename registry-secret.yaml\n",
        "kubectl get secret registry-info --namespace=jet-system \\\n  --output jsonpath='{.data.MIRROR_REGISTRIES}' | base64 --decode\n",
    ] {
        assert!(readme.contains(command), "{command}");
    }
}
