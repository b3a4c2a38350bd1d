//! The cost of image-swap in a cluster, on a real API server: the time that a pod's creation
//! takes longer, beside a webhook that always gives the same answer; the memory of the
//! controller in a large cluster; the time until a new declaration is followed.
//!
//! `IMAGE_SWAP` names the binary of image-swap, the other webhook is this binary again.
//! `-- admission` or `-- controller` measures one of them alone.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints what it measured"
)]

mod admission;
mod controller;
mod load;
mod pod;
mod process;
mod service;

use std::{
    env,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use image_swap_load::{Outcome, constant, runtime};
use image_swap_testbed::{ControlPlane, Options, Parts};
use tokio::net::TcpListener;

/// Threads of a webhook, as many as `image-swap webhook` has.
const WORKERS: usize = 1;
/// Threads of the load.
const LOAD_WORKERS: usize = 2;

const ADMISSION: &str = "admission";
const CONTROLLER: &str = "controller";

fn main() -> Outcome<()> {
    let arguments = env::args().skip(1).collect::<Vec<_>>();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["constant", directory, name, port] => {
            runtime(WORKERS)?.block_on(constant(Path::new(directory), name, port.parse()?))
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

/// Serves a constant at `port` of all addresses until the process is killed.
async fn constant(directory: &Path, name: &str, port: u16) -> Outcome<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?;
    constant::serve("uid", directory, name, listener).await
}

fn measure(admission: bool, controller: bool) -> Outcome<()> {
    let binary = env::var_os("IMAGE_SWAP").map(PathBuf::from);
    let binary = binary.ok_or("IMAGE_SWAP names no binary of image-swap")?;
    let parts = Parts::present()?;
    let options = Options {
        // There is no controller that creates service accounts.
        api_server_flags: vec!["--disable-admission-plugins=ServiceAccount".into()],
        ..Options::default()
    };
    if admission {
        let control_plane = ControlPlane::start(&parts, &options)?;
        runtime(LOAD_WORKERS)?.block_on(admission::measure(&control_plane, &binary))?;
    }
    if controller {
        // A new control plane: the many namespaces of this one slow down all requests.
        let control_plane = ControlPlane::start(&parts, &options)?;
        runtime(LOAD_WORKERS)?.block_on(controller::measure(&control_plane, &binary))?;
    }
    Ok(())
}
