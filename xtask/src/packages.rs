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
        const SUPPORT: [&str; 3] = ["xtask", "image-swap-testbed", "image-swap-e2e"];
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

    /// Returns the keys of all tables of dependencies.
    fn dependencies(manifest: &str) -> Vec<&str> {
        let tables = manifest.split("\n[").filter_map(|table| table.split_once("]\n"));
        let tables = tables.filter(|(name, _)| name.ends_with("dependencies"));
        let lines = tables.flat_map(|(_, keys)| keys.lines()).filter(|line| line.contains('='));
        lines.filter_map(|line| line.split(['.', ' ', '=']).next()).collect()
    }
}
