//! Commands that `apply` starts in processes of their own.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use image_swap_node::{enter, run_watchdog};

use crate::failure::{Failure, reason};

/// Arguments of `node guard`. Its orders come on standard input.
#[derive(Debug, clap::Args)]
pub(super) struct Guard {}

/// Arguments of `node inside`.
#[derive(Debug, clap::Args)]
pub(super) struct Inside {
    /// The directory that becomes the root.
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// Kill the program when the process that started it ends.
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
        Err(Failure::Broken(format!("cannot run {}: {}", words[0].display(), reason(&error))))
    }
}
