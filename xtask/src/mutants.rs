//! `cargo xtask mutants`: which changes to references and rules no test sees.

use std::process::{Command, ExitCode, Stdio};

use anyhow::Result;

use crate::{host::Host, process, tool};

/// What is changed: the core of the core.
const CHANGED: [&str; 2] = ["crates/core/src/reference/**", "crates/core/src/rule/**"];

/// The tests that should see it: those beside the code. No other program is built,
/// so that a change costs seconds.
const SEEN_BY: [&str; 2] = ["reference::", "rule::"];

/// Seconds after which a change that keeps a test running counts as seen.
const TIMEOUT: &str = "60";

/// Which changes to references and rules no test sees
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// cargo-mutants's own arguments (`--list`, `--shard 1/8`, …)
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
        // Behind the second `--`: cargo itself takes one name of a test at most.
        command.arg("--cargo-arg=--lib").args(self.arguments).args(["--", "--"]).args(SEEN_BY);
        command.current_dir(&host.root).stdin(Stdio::null());
        process::run(&mut command)?;
        Ok(ExitCode::SUCCESS)
    }
}
