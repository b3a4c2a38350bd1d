//! The project's own tasks: `cargo xtask help`.

mod bench;
mod cluster;
mod executable;
mod fuzz;
mod host;
mod image;
mod mutants;
mod packages;
mod process;
mod steps;
mod task;
mod test;
mod tool;

use std::process::ExitCode;

fn main() -> ExitCode {
    task::run()
}
