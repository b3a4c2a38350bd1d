//! What a cluster notices of us, on a real API server: how much longer a pod's
//! creation takes, in terms of a webhook that answers a constant; what the
//! controller of a large cluster holds in memory; how soon a new declaration is
//! followed.
//!
//! Ours is the binary that `IMAGE_SWAP` names, the other one this binary again.
//! Without a binary or without the parts of a control plane nothing is measured.
//! `-- admission` or `-- controller` measures that alone.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints what it measured"
)]

mod admission;
mod constant;
mod controller;
mod load;
mod process;
mod sample;
mod statistics;

use std::{
    env,
    error::Error,
    path::{Path, PathBuf},
};

use image_swap_testbed::{ControlPlane, Options, Parts, or_skip};
use tokio::runtime::{Builder, Runtime};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// As the binary's: see `image-swap webhook`.
const WORKERS: usize = 1;
/// Of those who ask.
const LOAD_WORKERS: usize = 2;

const ADMISSION: &str = "admission";
const CONTROLLER: &str = "controller";

fn main() -> Outcome<()> {
    let arguments = env::args().skip(1).collect::<Vec<_>>();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["constant", directory, port] => {
            runtime(WORKERS)?.block_on(constant::serve(Path::new(directory), port.parse()?))
        }
        arguments if arguments.contains(&"--bench") => {
            let is_named = |name: &str| arguments.contains(&name);
            let is_all = !is_named(ADMISSION) && !is_named(CONTROLLER);
            measure(is_all || is_named(ADMISSION), is_all || is_named(CONTROLLER))
        }
        // `cargo test --benches`: nothing here can fail.
        _ => Ok(()),
    }
}

fn runtime(workers: usize) -> Outcome<Runtime> {
    Ok(Builder::new_multi_thread().worker_threads(workers).enable_all().build()?)
}

fn measure(admission: bool, controller: bool) -> Outcome<()> {
    let Some(binary) = env::var_os("IMAGE_SWAP").map(PathBuf::from) else {
        println!("# IMAGE_SWAP names no binary: nothing is measured");
        return Ok(());
    };
    let Some(parts) = or_skip(Parts::for_tests(&|step: &str| eprintln!("{step}")))? else {
        return Ok(());
    };
    let options = Options {
        // Nobody makes service accounts here.
        api_server_flags: vec!["--disable-admission-plugins=ServiceAccount".into()],
        ..Options::default()
    };
    let start = || or_skip(ControlPlane::start(&parts, &options));
    if admission && let Some(control_plane) = start()? {
        runtime(LOAD_WORKERS)?.block_on(admission::measure(&control_plane, &binary))?;
    }
    // A new one: namespaces without number would slow down whatever comes after.
    if controller && let Some(control_plane) = start()? {
        runtime(LOAD_WORKERS)?.block_on(controller::measure(&control_plane, &binary))?;
    }
    Ok(())
}
