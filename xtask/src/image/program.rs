//! The program in the image, which has no shared libraries.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::Result;

use super::read;
use crate::{executable, host::Host, process};

/// The licences of glibc, in Debian's package libc6-dev.
pub(crate) const GLIBC: &str = "/usr/share/doc/libc6-dev/copyright";

/// Features of dependencies that tests enable. With them the program of the tests shares all
/// compiled dependencies with the tests. They change nothing outside a test.
pub(super) const OF_TESTS: &[&str] = &["--features", "tokio/test-util"];

/// Builds the program for this machine's platform with cargo's `profile` and `features`, and
/// returns its path.
///
/// glibc is linked in. Since version 2.34 its resolver needs no module at run time, so names
/// are resolved as in other programs. Only linking differs from other builds: all compiled
/// crates are shared with them.
pub(super) fn build(host: &Host, profile: &str, features: &[&str]) -> Result<PathBuf> {
    let arguments = ["--package", "image-swap", "--bin", "image-swap", "--profile", profile];
    let last = ["--", "-C", "target-feature=+crt-static", "-C", "strip=symbols"];
    executable::build(host, "rustc", &[&arguments[..], features, &last].concat())
}

/// Returns the licence files of the program: its own licence, the list of its crates and
/// their licences, and the licence of the C library.
pub(super) fn licences(host: &Host) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut crates = process::cargo(host, &["tree"]);
    crates.args(["--package", "image-swap", "--edges", "normal,no-proc-macro"]);
    crates.args(["--prefix", "none", "--format", "{p} {l}", "--no-dedupe"]);
    let listed = process::text(&mut crates)?;
    let mut all = BTreeMap::from([
        ("image-swap/LICENSE".to_owned(), read(&host.root.join("LICENSE"))?),
        ("image-swap/CRATES".to_owned(), list(&listed).into_bytes()),
    ]);
    if Path::new(GLIBC).is_file() {
        all.insert("glibc/copyright".to_owned(), read(Path::new(GLIBC))?);
    }
    Ok(all)
}

/// Returns each crate once, without its folder on this machine.
fn list(tree: &str) -> String {
    let mut lines: Vec<String> = tree
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| match (line.find(" (/"), line.find(") ")) {
            (Some(start), Some(end)) if start < end => {
                format!("{}{}", &line[..start], &line[end + 1..])
            }
            _ => line.to_owned(),
        })
        .collect();
    lines.sort();
    lines.dedup();
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::list;

    #[test]
    fn crate_is_listed_once_and_without_folder() {
        let tree = "b v1.0.0 MIT\n\na v0.1.0 (/home/me/a) Apache-2.0\nb v1.0.0 MIT\n";
        assert_eq!(list(tree), "a v0.1.0 Apache-2.0\nb v1.0.0 MIT\n");
    }
}
