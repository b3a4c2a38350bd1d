//! The crates that the program consists of.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{host::Host, process};

/// A crate that is linked into the program.
#[derive(Clone, Debug)]
pub(super) struct Crate {
    pub(super) name: String,
    pub(super) version: String,
    /// An SPDX expression; empty if the crate declares none.
    pub(super) licence: String,
    /// The folder of its source.
    pub(super) folder: PathBuf,
    /// The SHA-256 sum of the file on crates.io; `None` for a crate of the project.
    pub(super) checksum: Option<String>,
    /// The crates that it uses, by their identifiers.
    pub(super) uses: BTreeSet<String>,
}

/// All crates of the program, by their identifiers: `name@version`.
pub(super) struct Metadata(pub(super) BTreeMap<String, Crate>);

impl Metadata {
    /// Reads the crates that are linked on linux/amd64 or linux/arm64.
    pub(super) fn read(host: &Host) -> Result<Self> {
        let mut cargo = process::cargo(host, &["metadata", "--format-version", "1"]);
        for target in ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"] {
            cargo.args(["--filter-platform", target]);
        }
        let printed = process::text(&mut cargo)?;
        let lock = std::fs::read_to_string(host.root.join("Cargo.lock")).context("Cargo.lock")?;
        Self::parse(&serde_json::from_str(&printed)?, &checksums(&lock))
            .context("unexpected output of cargo metadata")
    }

    fn parse(document: &Value, checksums: &BTreeMap<String, String>) -> Option<Self> {
        let mut packages = BTreeMap::new();
        for package in document["packages"].as_array()? {
            packages.insert(package["id"].as_str()?, package);
        }
        let mut nodes = BTreeMap::new();
        for node in document["resolve"]["nodes"].as_array()? {
            nodes.insert(node["id"].as_str()?, node);
        }
        let key = |id: &str| {
            let package = packages.get(id)?;
            Some(format!("{}@{}", package["name"].as_str()?, package["version"].as_str()?))
        };
        let program = packages.iter().find(|(_, it)| it["name"] == super::NAME)?;
        let mut open = vec![*program.0];
        let mut all = BTreeMap::new();
        while let Some(id) = open.pop() {
            if all.contains_key(&key(id)?) {
                continue;
            }
            let package = packages.get(id)?;
            let mut uses = BTreeSet::new();
            for dependency in nodes.get(id)?["deps"].as_array()? {
                let kinds = dependency["dep_kinds"].as_array()?;
                let target = dependency["pkg"].as_str()?;
                if kinds.iter().any(|it| it["kind"].is_null()) && !is_macro(packages.get(target)?) {
                    uses.insert(key(target)?);
                    open.push(target);
                }
            }
            let manifest = PathBuf::from(package["manifest_path"].as_str()?);
            let found = Crate {
                name: package["name"].as_str()?.to_owned(),
                version: package["version"].as_str()?.to_owned(),
                licence: package["license"].as_str().unwrap_or_default().to_owned(),
                folder: manifest.parent()?.to_owned(),
                checksum: checksums.get(&key(id)?).cloned(),
                uses,
            };
            all.insert(key(id)?, found);
        }
        Some(Self(all))
    }
}

/// Returns true for a crate that runs in the compiler alone.
fn is_macro(package: &Value) -> bool {
    let targets = package["targets"].as_array().into_iter().flatten();
    let mut kinds = targets.flat_map(|target| target["kind"].as_array().into_iter().flatten());
    kinds.any(|kind| kind == "proc-macro")
}

/// Returns the checksums in a `Cargo.lock`, by `name@version`.
fn checksums(lock: &str) -> BTreeMap<String, String> {
    let value = |line: &str, key: &str| {
        let value = line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"')?;
        Some(value.to_owned())
    };
    let mut all = BTreeMap::new();
    for package in lock.split("[[package]]") {
        let field = |key: &str| package.lines().find_map(|line| value(line, key));
        let found = (field("name"), field("version"), field("checksum"));
        if let (Some(name), Some(version), Some(checksum)) = found {
            all.insert(format!("{name}@{version}"), checksum);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_of_the_program_are_found() {
        let Metadata(all) = Metadata::read(&Host::new().unwrap()).unwrap();
        let of = |name: &str| all.values().find(|it| it.name == name);
        assert!(of("image-swap").unwrap().checksum.is_none());
        assert_eq!(of("ring").unwrap().checksum.as_ref().unwrap().len(), 64);
        assert!(of("ring").unwrap().folder.join("Cargo.toml").is_file());
        // A macro, a build script, and a crate of tests are not linked.
        for name in ["clap_derive", "cc", "insta", "xtask"] {
            assert!(of(name).is_none(), "{name}");
        }
        assert!(all.values().all(|it| it.uses.iter().all(|used| all.contains_key(used))));
    }
}
