//! `image-swap completions`

use std::process::ExitCode;

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
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "image-swap", &mut script);
        output::print(&script)
    }
}
