//! The packages of the workspace.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::host::Host;

/// A package of the workspace.
#[derive(Debug)]
pub(crate) struct Package {
    /// The name, which may differ from the name of the folder.
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
}

/// Returns every member of the workspace, sorted by folder.
pub(crate) fn all(host: &Host) -> Result<Vec<Package>> {
    let manifest = read(&host.root)?;
    let members = list(&manifest, "members");
    let members = members.context("expected members in the workspace's manifest, found none")?;
    let excluded = list(&manifest, "exclude").unwrap_or_default();
    let excluded: Vec<PathBuf> = excluded.iter().map(|path| host.root.join(path)).collect();
    let mut folders = Vec::new();
    for member in members {
        match member.strip_suffix("/*") {
            None => folders.push(host.root.join(member)),
            Some(parent) => {
                let parent = host.root.join(parent);
                let entries = fs::read_dir(&parent).context(parent.display().to_string())?;
                folders.extend(entries.flatten().map(|entry| entry.path()));
            }
        }
    }
    folders.retain(|folder| folder.join("Cargo.toml").is_file() && !excluded.contains(folder));
    folders.sort();
    folders.into_iter().map(|folder| Ok(Package { name: name(&folder)?, folder })).collect()
}

/// Returns the strings of the array `key` in a manifest.
fn list<'m>(manifest: &'m str, key: &str) -> Option<Vec<&'m str>> {
    let (_, rest) = manifest.split_once(&format!("\n{key} = ["))?;
    let array = rest.split(']').next()?;
    // Every second piece is between quotes.
    Some(array.split('"').skip(1).step_by(2).collect())
}

/// Returns the first `name = "..."` of a manifest, which is the name of the package.
fn name(folder: &Path) -> Result<String> {
    let manifest = read(folder)?;
    let name = manifest.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    let name = name.with_context(|| format!("{}: expected a package's name", folder.display()))?;
    Ok(name.to_owned())
}

fn read(folder: &Path) -> Result<String> {
    let manifest = folder.join("Cargo.toml");
    fs::read_to_string(&manifest).with_context(|| manifest.display().to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn package_is_found_by_its_name() {
        let packages = all(&Host::new().unwrap()).unwrap();
        for name in ["image-swap", "image-swap-core", "image-swap-testbed", "xtask"] {
            assert!(packages.iter().any(|known| known.name == name), "{name} in {packages:?}");
        }
    }

    #[test]
    fn array_may_span_lines() {
        let manifest = "[workspace]\nmembers = [\n  \"a\",\n  \"b/*\",\n]\nexclude = [\"b/c\"]\n";
        assert_eq!(list(manifest, "members").unwrap(), ["a", "b/*"]);
        assert_eq!(list(manifest, "exclude").unwrap(), ["b/c"]);
        assert_eq!(list(manifest, "default-members"), None);
    }

    /// Tasks and real parts are needed most while the product does not compile.
    #[test]
    fn test_support_links_neither_product_nor_tokio() {
        const SUPPORT: [&str; 4] =
            ["xtask", "image-swap-testbed", "image-swap-testkit", "image-swap-e2e"];
        let packages = all(&Host::new().unwrap()).unwrap();
        let known: Vec<_> = packages.iter().map(|package| package.name.as_str()).collect();
        for name in SUPPORT {
            let package = packages.iter().find(|package| package.name == name).unwrap();
            let manifest = read(&package.folder).unwrap();
            let dependencies = dependencies(&manifest);
            assert!(!dependencies.is_empty(), "{name}");
            for dependency in dependencies {
                let own = known.contains(&dependency) && !SUPPORT.contains(&dependency);
                assert!(!own && dependency != "tokio", "{name} depends on {dependency}");
            }
        }
    }

    /// Checks the dependencies of the crates that answer reviews.
    // guarantee: 4b
    #[test]
    fn review_links_no_client_of_registries() {
        let packages = all(&Host::new().unwrap()).unwrap();
        let mut open = vec!["image-swap-webhook".to_owned()];
        let mut reached = BTreeSet::new();
        while let Some(name) = open.pop() {
            let package = packages.iter().find(|package| package.name == name).unwrap();
            let manifest = read(&package.folder).unwrap();
            for (key, value) in entries(&manifest, |table| table == "dependencies") {
                assert!(!value.contains("\"client\""), "{name}: {key} {value}");
                assert!(
                    !["kube", "reqwest", "image-swap-registry"].contains(&key),
                    "{name}: {key}"
                );
                if key.starts_with("image-swap-") && reached.insert(key.to_owned()) {
                    open.push(key.to_owned());
                }
            }
        }
        let expected = ["image-swap-core", "image-swap-serve", "image-swap-text"];
        assert!(reached.iter().eq(expected.iter()), "{reached:?}");
    }

    #[test]
    fn diagram_of_crates_equals_the_manifests() {
        let host = Host::new().unwrap();
        let design = fs::read_to_string(host.root.join("DESIGN.md")).unwrap();
        let (_, crates) = design.split_once("\n## Crates\n").unwrap();
        let diagram = crates.split("```").nth(1).unwrap();
        let arrows = diagram.lines().filter_map(|line| line.trim().split_once(" --> "));
        let drawn: BTreeSet<_> = arrows
            .flat_map(|(from, to)| to.split(" & ").map(move |to| (from.to_owned(), to.to_owned())))
            .collect();
        let mut found = BTreeSet::new();
        let folder = |package: &Package| {
            let below = package.folder.strip_prefix(host.root.join("crates")).ok()?;
            Some(below.to_str().unwrap().to_owned())
        };
        for package in all(&host).unwrap() {
            let Some(from) = folder(&package) else { continue };
            let manifest = read(&package.folder).unwrap();
            for (key, _) in entries(&manifest, |table| table == "dependencies") {
                if let Some(to) = key.strip_prefix("image-swap-") {
                    found.insert((from.clone(), to.to_owned()));
                }
            }
        }
        assert_eq!(drawn, found);
    }

    /// Returns the keys of all tables of dependencies.
    fn dependencies(manifest: &str) -> Vec<&str> {
        entries(manifest, |table| table.ends_with("dependencies")).map(|(key, _)| key).collect()
    }

    /// Returns names and values in the tables that `is_wanted` accepts by their names.
    fn entries(
        manifest: &str,
        is_wanted: impl Fn(&str) -> bool,
    ) -> impl Iterator<Item = (&str, &str)> {
        let tables = manifest.split("\n[").filter_map(|table| table.split_once("]\n"));
        let tables = tables.filter(move |(name, _)| is_wanted(name));
        let lines = tables.flat_map(|(_, keys)| keys.lines()).filter(|line| line.contains('='));
        lines.filter_map(|line| {
            let end = line.find(['.', ' ', '='])?;
            Some(line.split_at(end))
        })
    }
}
