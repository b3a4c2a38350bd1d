//! Circles: files of a shipped crate that import each other.
//!
//! A circle has no inside and no outside: none of its files can be read, tested or moved
//! without the others. A module's declarations and re-exports of its own children do not
//! count, nor does code below `#[cfg(test)]`.

mod graph;
mod modules;

use std::{collections::BTreeSet, fmt::Write as _, path::Path, process::ExitCode};

use anyhow::{Result, bail};

use self::{graph::Graph, modules::Modules};
use crate::{
    host::{Host, print_line},
    packages::{self, Package},
    steps::{Outcome, Steps},
    test::scan::sources,
};

/// Find files that import each other, and modules outside their folders
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

impl Args {
    pub(crate) fn run(self, host: &Host) -> ExitCode {
        let Self {} = self;
        let mut steps = Steps::new(host);
        steps.step("circles", check);
        steps.finish()
    }
}

/// Checks the files of all shipped crates, and the module style of all packages.
///
/// Prints every circle with its imports, and every file that breaks the style.
///
/// # Errors
/// There are some, or a file cannot be parsed.
pub(crate) fn check(host: &Host) -> Result<Outcome> {
    let mut found = String::new();
    let mut files = 0;
    for Package { folder, .. } in packages::all(host)? {
        for wrong in beside_folders(&sources(&folder)?) {
            let wrong = wrong.strip_prefix(&host.root).unwrap_or(wrong);
            let _ = writeln!(found, "{}: expected mod.rs in the folder", wrong.display());
        }
        if folder.starts_with(host.root.join("crates")) {
            let modules = Modules::read(&folder.join("src"))?;
            let graph = Graph::new(&modules);
            files += graph.len();
            let shown = folder.strip_prefix(&host.root).unwrap_or(&folder);
            found += &graph.circles(&shown.join("src"));
        }
    }
    if found.is_empty() {
        return Ok(Outcome::Passed(format!("{files} files without a circle")));
    }
    print_line(found.trim_end());
    bail!("expected no circle, and mod.rs in the folder of each module with children");
}

/// Returns each file `x.rs` that has a folder `x` beside it.
fn beside_folders(files: &[impl AsRef<Path>]) -> BTreeSet<&Path> {
    let folders: BTreeSet<_> = files.iter().filter_map(|file| file.as_ref().parent()).collect();
    let files = files.iter().map(AsRef::as_ref);
    files.filter(|file| folders.contains(file.with_extension("").as_path())).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::beside_folders;

    #[test]
    fn file_next_to_its_folder_is_found() {
        let files = ["src/lib.rs", "src/a.rs", "src/a/b.rs", "src/c/mod.rs", "src/c/d.rs"];
        assert!(beside_folders(&files).into_iter().eq([Path::new("src/a.rs")]));
    }
}
