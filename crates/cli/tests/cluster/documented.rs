//! Tables and commands of the documents.

use std::{collections::BTreeSet, fs, path::Path};

/// Returns the text of a file in `docs`.
fn document(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(file);
    fs::read_to_string(path).unwrap()
}

/// Returns the text below a heading of a file in `docs`, to the end of the file.
fn below(file: &str, heading: &str) -> String {
    let text = document(file);
    let section = text.split_once(&format!("\n{heading}\n"));
    section.unwrap_or_else(|| panic!("docs/{file}: expected {heading}")).1.to_owned()
}

/// Returns the first block of commands below a heading of a file in `docs`.
pub(crate) fn commands(file: &str, heading: &str) -> String {
    let section = below(file, heading);
    let (_, block) = section.split_once("```console\n").unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

/// Returns the cells of the first table below a heading of a file in `docs`, without backticks.
pub(crate) fn table(file: &str, heading: &str) -> Vec<Vec<String>> {
    let text = below(file, heading);
    let rows = text.lines().skip_while(|line| !line.starts_with('|')).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|')).map(|line| {
        let cells = line.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().replace('`', "")).collect()
    });
    let rows: Vec<Vec<String>> = rows.collect();
    assert!(!rows.is_empty(), "docs/{file}: expected a table below {heading}");
    rows
}

/// Returns the Secrets that contain the credential, by docs/security.md.
pub(crate) fn secrets() -> BTreeSet<String> {
    let rows = table("security.md", "## Credential");
    rows.iter().flat_map(|row| row[0].split(", ")).map(str::to_owned).collect()
}

/// Returns the name of a Secret in the words of that table. `namespace` is one of `fleet.namespaces`.
pub(crate) fn secret_name(secret: &str, namespace: &str) -> String {
    let is_fixed = ["image-swap-pull", "registry-info"].contains(&secret);
    if is_fixed {
        return secret.to_owned();
    }
    if secret.ends_with(".declaration") {
        return "NAME.declaration".to_owned();
    }
    let rest = secret.strip_prefix("image-swap").unwrap_or(secret);
    let own = format!("-fleet-declaration-{namespace}");
    format!("N{}", if rest == own { "-fleet-declaration-NAMESPACE" } else { rest })
}
