//! The tasks of this project: `cargo xtask help`.

mod bench;
mod circles;
mod cluster;
mod executable;
mod fuzz;
mod guarantees;
mod host;
mod image;
mod matrix;
mod mutants;
mod packages;
mod parts;
mod process;
mod prose;
mod release;
mod steps;
mod task;
mod test;
mod tool;

use std::process::ExitCode;

fn main() -> ExitCode {
    task::run()
}
