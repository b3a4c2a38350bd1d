//! The workspace's own packages.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::host::Host;

/// A package of the workspace.
#[derive(Debug)]
pub(crate) struct Package {
    /// Its name, which need not be its folder's.
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
}

/// Every package, in the order of their folders.
pub(crate) fn all(host: &Host) -> Result<Vec<Package>, String> {
    let crates = host.root.join("crates");
    let entries = fs::read_dir(&crates).map_err(|error| told(&crates, &error.to_string()))?;
    let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    folders.push(host.root.join("xtask"));
    folders.retain(|folder| folder.join("Cargo.toml").is_file());
    folders.sort();
    folders.into_iter().map(|folder| Ok(Package { name: name(&folder)?, folder })).collect()
}

/// The first `name = "…"` of a manifest, which is the package's.
fn name(folder: &Path) -> Result<String, String> {
    let manifest = folder.join("Cargo.toml");
    let text =
        fs::read_to_string(&manifest).map_err(|error| told(&manifest, &error.to_string()))?;
    let name = text.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    name.map(str::to_owned).ok_or_else(|| told(&manifest, "expected a package's name, found none"))
}

fn told(path: &Path, what: &str) -> String {
    format!("{}: {what}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_is_known_by_its_name() {
        let packages = all(&Host::new().unwrap()).unwrap();
        for name in ["image-swap", "image-swap-core", "image-swap-properties", "xtask"] {
            assert!(packages.iter().any(|known| known.name == name), "{name} in {packages:?}");
        }
    }
}
