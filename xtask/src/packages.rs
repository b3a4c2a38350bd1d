//! The workspace's own packages.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::host::Host;

/// A package of the workspace.
#[derive(Debug)]
pub(crate) struct Package {
    /// Its name, which need not be its folder's.
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
}

/// Every member of the workspace, in the order of their folders.
pub(crate) fn all(host: &Host) -> Result<Vec<Package>> {
    let manifest = read(&host.root)?;
    let members = manifest.lines().find_map(|line| line.strip_prefix("members = "));
    let members = members.context("expected members in the workspace's manifest, found none")?;
    let mut folders = Vec::new();
    // What stands between quotes: every second piece.
    for member in members.split('"').skip(1).step_by(2) {
        match member.strip_suffix("/*") {
            None => folders.push(host.root.join(member)),
            Some(parent) => {
                let parent = host.root.join(parent);
                let entries = fs::read_dir(&parent).context(parent.display().to_string())?;
                folders.extend(entries.flatten().map(|entry| entry.path()));
            }
        }
    }
    folders.retain(|folder| folder.join("Cargo.toml").is_file());
    folders.sort();
    folders.into_iter().map(|folder| Ok(Package { name: name(&folder)?, folder })).collect()
}

/// The first `name = "…"` of a manifest, which is the package's.
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
    fn every_package_is_known_by_its_name() {
        let packages = all(&Host::new().unwrap()).unwrap();
        for name in ["image-swap", "image-swap-core", "image-swap-testbed", "xtask"] {
            assert!(packages.iter().any(|known| known.name == name), "{name} in {packages:?}");
        }
    }
}
