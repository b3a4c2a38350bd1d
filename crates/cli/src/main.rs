//! The `image-swap` binary: one program, so that one image crosses the air gap.

mod age;
mod choice;
mod cli;
mod command;
mod declaration;
mod exemptions;
mod failure;
mod follow;
mod logging;
mod output;
mod replace;
mod text;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::Cli::main()
}
