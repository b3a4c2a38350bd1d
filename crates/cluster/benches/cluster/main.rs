//! The cost of image-swap in a cluster, on a real API server: the time that a pod's creation
//! takes longer, beside a webhook that always gives the same answer; the memory of the
//! controller in a large cluster; the time until pods and nodes follow a new declaration; the
//! cost of an agent.
//!
//! `IMAGE_SWAP` names the binary of image-swap, the other webhook is this binary again.
//! `-- NAME` measures one of them alone: `admission`, `controller`, `rollout` or `fleet`.
//! `--idle=600` leaves agents idle for ten minutes instead of one.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints what it measured"
)]

mod admission;
mod controller;
mod fleet;
mod load;
mod pod;
mod rollout;
mod service;
mod stage;

use std::{
    env,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::Duration,
};

use image_swap_load::{Outcome, constant, runtime};
use image_swap_testbed::{ControlPlane, Options, Parts};
use tokio::net::TcpListener;

/// Threads of a webhook, as many as `image-swap webhook` has.
const WORKERS: usize = 1;
/// Threads of the load.
const LOAD_WORKERS: usize = 2;

/// Longer than thousands of writes take.
const PATIENCE: Duration = Duration::from_mins(10);
/// Seconds without a change in which the CPU of agents is measured.
const IDLE: u64 = 60;

const ADMISSION: &str = "admission";
const CONTROLLER: &str = "controller";
const ROLLOUT: &str = "rollout";
const FLEET: &str = "fleet";

fn main() -> Outcome<()> {
    let arguments = env::args().skip(1).collect::<Vec<_>>();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["constant", directory, name, port] => {
            runtime(WORKERS)?.block_on(constant(Path::new(directory), name, port.parse()?))
        }
        arguments if arguments.contains(&"--bench") => measure(arguments),
        // `cargo test --benches`: nothing here can fail.
        _ => Ok(()),
    }
}

/// Serves a constant at `port` of all addresses until the process is killed.
async fn constant(directory: &Path, name: &str, port: u16) -> Outcome<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?;
    constant::serve("uid", directory, name, listener).await
}

/// Measures everything, or only the benchmarks that `arguments` name.
fn measure(arguments: &[&str]) -> Outcome<()> {
    let is_named = |name: &str| arguments.contains(&name);
    let is_all = ![ADMISSION, CONTROLLER, ROLLOUT, FLEET].into_iter().any(is_named);
    let is_wanted = |name: &str| is_all || is_named(name);
    let idle = arguments.iter().find_map(|it| it.strip_prefix("--idle="));
    let idle = Duration::from_secs(idle.map_or(Ok(IDLE), str::parse)?);
    let binary = env::var_os("IMAGE_SWAP").map(PathBuf::from);
    let binary = binary.ok_or("IMAGE_SWAP names no binary of image-swap")?;
    let parts = Parts::present()?;
    let workers = || runtime(LOAD_WORKERS);
    // Each has a control plane of its own: thousands of objects slow down all requests.
    let control_plane = || ControlPlane::start(&parts, &options(Vec::new()));
    if is_wanted(ADMISSION) {
        workers()?.block_on(admission::measure(&control_plane()?, &binary))?;
    }
    if is_wanted(CONTROLLER) {
        workers()?.block_on(controller::measure(&control_plane()?, &binary))?;
    }
    if is_wanted(ROLLOUT) {
        workers()?.block_on(rollout::measure(&parts, &binary, idle))?;
    }
    if is_wanted(FLEET) {
        workers()?.block_on(fleet::measure(&control_plane()?, &binary))?;
    }
    Ok(())
}

/// Returns the options of a control plane with `more` flags of its API server.
fn options(more: Vec<String>) -> Options {
    // There is no controller that creates service accounts.
    let mut flags = vec!["--disable-admission-plugins=ServiceAccount".to_owned()];
    flags.extend(more);
    Options { api_server_flags: flags, ..Options::default() }
}
