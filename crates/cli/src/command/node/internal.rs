//! What `apply` starts our own program for.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use image_swap_node::{enter, run_watchdog};

use crate::failure::Failure;

/// Arguments of `node guard`: it is told everything on its standard input.
#[derive(Debug, clap::Args)]
pub(super) struct Guard {}

/// Arguments of `node inside`.
#[derive(Debug, clap::Args)]
pub(super) struct Inside {
    /// Which directory becomes its root.
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// Whether it is killed when the process that started it ends.
    #[arg(long)]
    mortal: bool,
    /// The program and its arguments.
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    words: Vec<OsString>,
}

impl Guard {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let Self {} = self;
        run_watchdog().map_err(Failure::broken)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Inside {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let Self { root, mortal, words } = self;
        let error = enter(&root, mortal, &words);
        Err(Failure::Broken(format!("{}: expected to run it, found: {error}", words[0].display())))
    }
}
