//! `image-swap completions`

use std::{io::Write, process::ExitCode};

use clap_complete::Shell;

use crate::{failure::Failure, output};

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// For which shell.
    shell: Shell,
}

impl Args {
    /// Prints the completions of `command`.
    pub(crate) fn run(self, mut command: clap::Command) -> Result<ExitCode, Failure> {
        let Self { shell } = self;
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut command, "image-swap", &mut script);
        let mut out = output::stdout();
        out.write_all(&script)?;
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }
}
