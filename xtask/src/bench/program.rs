//! Benchmarks, built.

use std::{fs, path::PathBuf};

use anyhow::Result;

use crate::{
    executable,
    host::Host,
    packages::{self, Package},
};

/// A benchmark that can be run.
pub(super) struct Program {
    /// The name of the file, without `.rs`.
    pub(super) name: String,
    pub(super) path: PathBuf,
}

/// Returns every `benches/NAME.rs` and `benches/NAME/main.rs` of the workspace.
pub(super) fn all(host: &Host) -> Result<Vec<Program>> {
    let mut programs = Vec::new();
    for Package { name: package, folder } in packages::all(host)? {
        let Ok(files) = fs::read_dir(folder.join("benches")) else { continue };
        for file in files.flatten().map(|entry| entry.path()) {
            let is_program = file.extension().is_some_and(|extension| extension == "rs")
                || file.join("main.rs").is_file();
            if is_program && let Some(name) = file.file_stem().and_then(|name| name.to_str()) {
                let arguments = ["--no-run", "--package", &package, "--bench", name];
                let path = executable::build(host, "bench", &arguments)?;
                programs.push(Program { name: name.to_owned(), path });
            }
        }
    }
    Ok(programs)
}
