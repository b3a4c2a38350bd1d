//! The licences of the crates and of the C library.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use anyhow::{Context, Result};

use super::metadata::{Crate, Metadata};
use crate::image::GLIBC_LICENCE;

/// Beginnings of the names of files with licences and notices, in lower case.
const NAMES: [&str; 5] = ["licen", "copying", "notice", "copyright", "unlicense"];

/// Returns the text of all licences. A text that several crates share is printed once.
pub(super) fn text(Metadata(crates): &Metadata) -> Result<String> {
    let foreign = crates.values().filter(|it| it.checksum.is_some());
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut listed = String::new();
    for it in foreign {
        let Crate { name, version, licence, folder, .. } = it;
        writeln!(listed, "{name} {version}: {licence}")?;
        for text in licences(folder)? {
            texts.entry(text).or_default().push(format!("{name} {version}"));
        }
    }
    let glibc = fs::read_to_string(GLIBC_LICENCE)
        .with_context(|| format!("{GLIBC_LICENCE}: install Debian's package libc6-dev"))?;
    texts.entry(glibc).or_default().push("the GNU C Library".to_owned());
    let mut sections: Vec<(Vec<String>, String)> =
        texts.into_iter().map(|(text, names)| (names, text)).collect();
    sections.sort();
    let mut out = format!(
        "image-swap contains the crates below and the GNU C Library, under these licences.\n\n{listed}"
    );
    for (names, text) in sections {
        let (rule, names) = ("=".repeat(80), names.join(", "));
        writeln!(out, "\n{rule}\n{names}\n\n{}", text.trim_end())?;
    }
    Ok(out)
}

/// Returns the texts in the top folder of a crate.
fn licences(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_lowercase();
        let is_text = NAMES.iter().any(|start| name.starts_with(start));
        if is_text && entry.path().is_file() {
            let bytes = fs::read(entry.path())?;
            found.push(String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    found.sort();
    Ok(found)
}
