//! `cargo xtask mutants`: changes to references and rules that no test detects.

use std::process::{Command, ExitCode, Stdio};

use anyhow::Result;

use crate::{host::Host, process, tool};

/// The files that are changed.
const CHANGED: [&str; 2] = ["crates/core/src/reference/**", "crates/core/src/rule/**"];

/// The tests that should detect a change: unit tests of the changed code. No other program
/// is built, so a change costs seconds.
const DETECTED_BY: [&str; 2] = ["reference::", "rule::"];

/// The timeout of a test in seconds. A change that makes a test run longer is detected.
const TIMEOUT: &str = "60";

/// Changes to references and rules that no test detects
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Arguments of cargo-mutants (`--list`, `--shard 1/8`, …)
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

impl Args {
    pub(crate) fn run(self, host: &Host) -> Result<ExitCode> {
        let program = tool::MUTANTS.get(host)?;
        let mut command = Command::new(program);
        command.args(["mutants", "--package", "image-swap-core", "--timeout", TIMEOUT]);
        for files in CHANGED {
            command.args(["--file", files]);
        }
        // Names follow the second `--`: cargo itself accepts one name at most.
        command.arg("--cargo-arg=--lib").args(self.arguments).args(["--", "--"]).args(DETECTED_BY);
        command.current_dir(&host.root).stdin(Stdio::null());
        process::run(&mut command)?;
        Ok(ExitCode::SUCCESS)
    }
}
