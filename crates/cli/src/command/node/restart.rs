//! Commands of a restart that an agent ordered: in a pod, and on the host.

use std::{
    ffi::OsString,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use image_swap_core::status::{RestartOutcome, RestartResult};
use image_swap_node::{detach, restart_host, restart_in_pod};

use super::options;
use crate::{
    failure::{Failure, reason},
    output,
};

/// Arguments of `node restart-pod`.
#[derive(Debug, clap::Args)]
pub(super) struct RestartPod {
    /// The directory where the host's root directory is mounted.
    #[arg(long, value_name = "DIR", default_value = "/host")]
    root: PathBuf,
    #[command(flatten)]
    order: OrderArgs,
}

/// Arguments of `node restart-host`.
#[derive(Debug, clap::Args)]
pub(super) struct RestartHost {
    #[command(flatten)]
    order: OrderArgs,
}

/// Arguments of `node detach`.
#[derive(Debug, clap::Args)]
pub(super) struct Detach {
    /// The program of the host and its arguments.
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    words: Vec<OsString>,
}

/// The order, and the restart of the runtime.
#[derive(Debug, clap::Args)]
struct OrderArgs {
    /// The number of the declaration in the order.
    #[arg(long, value_name = "NUMBER")]
    number: u64,
    /// The restart command, for `sh` [default: systemctl restart UNIT].
    #[arg(long, value_name = "COMMAND")]
    restart_command: Option<String>,
}

impl RestartPod {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let Self { root, order: OrderArgs { number, restart_command } } = self;
        let host = options::host(&root)?;
        let result = restart_in_pod(&host, number, restart_command.as_deref(), &output::note);
        finish(&result.map_err(Failure::broken)?)
    }
}

impl RestartHost {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let Self { order: OrderArgs { number, restart_command } } = self;
        let host = options::host(Path::new("/"))?;
        let result = restart_host(&host, number, restart_command, &output::note);
        finish(&result.map_err(Failure::broken)?)
    }
}

impl Detach {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let Self { words } = self;
        let error = detach(&words);
        Err(Failure::Broken(format!("cannot run {}: {}", words[0].display(), reason(&error))))
    }
}

/// Prints the message of an order. Any outcome but `applied` is a failure.
fn finish(result: &RestartResult) -> Result<ExitCode, Failure> {
    let RestartResult { number, outcome, message } = result;
    let outcome = match outcome {
        RestartOutcome::Applied => {
            let mut out = output::stdout();
            writeln!(out, "declaration {number} applied: {message}")?;
            return output::end(&mut out, true);
        }
        RestartOutcome::Refused => "refused, and nothing was changed",
        RestartOutcome::RolledBack => "rolled back",
        RestartOutcome::Broken => "not rolled back completely",
    };
    Err(Failure::Broken(format!("declaration {number} {outcome}: {message}")))
}
