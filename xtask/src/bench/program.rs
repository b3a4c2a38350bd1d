//! Benchmarks, built.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};

use crate::{
    host::Host,
    packages::{self, Package},
    process,
};

/// A benchmark that can be run.
pub(super) struct Program {
    /// Its file's name, without `.rs`.
    pub(super) name: String,
    pub(super) path: PathBuf,
}

/// Every `benches/NAME.rs` and `benches/NAME/main.rs` of the workspace.
pub(super) fn all(host: &Host) -> Result<Vec<Program>> {
    let mut programs = Vec::new();
    for Package { name: package, folder } in packages::all(host)? {
        let Ok(files) = fs::read_dir(folder.join("benches")) else { continue };
        for file in files.flatten().map(|entry| entry.path()) {
            let is_program = file.extension().is_some_and(|extension| extension == "rs")
                || file.join("main.rs").is_file();
            if is_program && let Some(name) = file.file_stem().and_then(|name| name.to_str()) {
                let arguments = ["--no-run", "--package", &package, "--bench", name];
                let path = Program::build(host, "bench", &arguments)?;
                programs.push(Program { name: name.to_owned(), path });
            }
        }
    }
    Ok(programs)
}

impl Program {
    /// Builds one program with cargo: where it is.
    pub(super) fn build(host: &Host, subcommand: &str, arguments: &[&str]) -> Result<PathBuf> {
        let mut command = process::cargo(host, &[subcommand]);
        command.args(arguments).arg("--message-format=json-render-diagnostics");
        let messages = process::text(&mut command)?;
        let last = messages.lines().rev().find_map(executable);
        last.with_context(|| format!("expected an executable from cargo {subcommand}, found none"))
    }
}

/// `"executable":"/path"` in one of cargo's messages.
fn executable(message: &str) -> Option<PathBuf> {
    let (_, rest) = message.split_once("\"executable\":\"")?;
    let (path, _) = rest.split_once('"')?;
    // Paths with characters that JSON escapes are beyond what this reads.
    (!path.contains('\\')).then(|| path.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_in_what_cargo_says() {
        let message = r#"{"reason":"compiler-artifact","executable":"/t/release/image-swap"}"#;
        assert_eq!(executable(message), Some("/t/release/image-swap".into()));
        assert_eq!(executable(r#"{"reason":"compiler-artifact","executable":null}"#), None);
    }
}
