//! `cargo xtask mutants`: which changes to references and rules no test sees.

use std::process::{Command, ExitCode, Stdio};

use crate::{host::Host, process, tool};

/// What is changed: the core of the core.
const CHANGED: [&str; 2] = ["crates/core/src/reference/**", "crates/core/src/rule/**"];

/// Seconds after which a change that keeps a test running counts as seen.
const TIMEOUT: &str = "60";

/// `arguments` are cargo-mutants's own (`--list`, `--shard 1/8`, …).
pub(crate) fn run(host: &Host, arguments: &[String]) -> Result<ExitCode, String> {
    let program = tool::MUTANTS.get(host)?;
    let mut command = Command::new(program);
    command.args(["mutants", "--package", "image-swap-core", "--timeout", TIMEOUT]);
    for files in CHANGED {
        command.args(["--file", files]);
    }
    process::run(command.args(arguments).current_dir(&host.root).stdin(Stdio::null()))?;
    Ok(ExitCode::SUCCESS)
}
