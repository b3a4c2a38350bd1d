//! Sections: the crates and folders that have a budget of their own.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::finding::Tally;
use crate::test::scan::files;

/// A crate, or a folder of documents.
#[derive(Debug)]
pub(super) struct Section {
    /// The path below the checkout; `*.md` for the documents at its root.
    pub(super) name: String,
    pub(super) tally: Tally,
}

/// Reads all sections below `root`, sorted by name.
///
/// # Errors
/// A folder or a file cannot be read.
pub(super) fn all(root: &Path) -> Result<Vec<Section>> {
    let mut names: Vec<String> = ["charts", "docs", "xtask"].map(str::to_owned).into();
    for parent in ["crates", "tests"] {
        for path in entries(&root.join(parent))? {
            if path.is_dir() {
                names.push(shown(root, &path));
            }
        }
    }
    names.sort();
    let mut sections = vec![documents(root)?];
    for name in names {
        let tally = folder(root, &name).with_context(|| name.clone())?;
        sections.push(Section { name, tally });
    }
    Ok(sections)
}

/// Reads the Markdown files at the root.
fn documents(root: &Path) -> Result<Section> {
    let mut tally = Tally::default();
    for path in entries(root)? {
        if path.extension().is_some_and(|end| end == "md") {
            tally.add_markdown(&shown(root, &path), &read(&path)?);
        }
    }
    Ok(Section { name: "*.md".to_owned(), tally })
}

fn folder(root: &Path, name: &str) -> Result<Tally> {
    let mut tally = Tally::default();
    for path in files(&root.join(name), "rs")? {
        tally.add_rust(&shown(root, &path), &read(&path)?);
    }
    for path in files(&root.join(name), "md")? {
        tally.add_markdown(&shown(root, &path), &read(&path)?);
    }
    Ok(tally)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| file.display().to_string())
}

fn shown(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::all;
    use crate::prose::finding::Kind;

    #[test]
    fn crate_and_folder_are_sections() {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("README.md", "We"),
            ("charts/a/README.md", "we"),
            ("crates/a/src/lib.rs", "//! we"),
            ("crates/a/target/lib.rs", "//! we"),
            ("crates/a/tests/README.md", "we"),
            ("docs/a/b.md", "us"),
            ("tests/b/src/lib.rs", "// we"),
            ("tests/b/src/lib.txt", "// we"),
            ("xtask/src/main.rs", "fn main() {} // we"),
        ] {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let sections = all(root.path()).unwrap();
        let counts = sections.iter().map(|section| {
            let mut files = section.tally.findings.iter().map(|finding| finding.file.as_str());
            (section.name.as_str(), section.tally.count(Kind::Banned), files.next_back().unwrap())
        });
        let expected = [
            ("*.md", 1, "README.md"),
            ("charts", 1, "charts/a/README.md"),
            ("crates/a", 2, "crates/a/tests/README.md"),
            ("docs", 1, "docs/a/b.md"),
            ("tests/b", 1, "tests/b/src/lib.rs"),
            ("xtask", 1, "xtask/src/main.rs"),
        ];
        assert!(counts.eq(expected), "{sections:?}");
    }
}
