//! `image-swap completions`: prints the completions of a shell.

use std::process::ExitCode;

use clap_complete::Shell;

use crate::{failure::Failure, output};

const EXAMPLES: &str = "\
Examples:
  image-swap completions bash > ~/.local/share/bash-completion/completions/image-swap
  image-swap completions zsh > ~/.zsh/completions/_image-swap";

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The shell.
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
