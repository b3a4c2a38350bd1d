//! The cost of a large fleet: the real fleet controller on a real API server as management cluster,
//! with a thousand simulated workload clusters.
//!
//! `IMAGE_SWAP` names the binary of image-swap. `--clusters=20` measures a smaller fleet once, and
//! its values have no bound. The client without a fleet controller is this binary again.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints what it measured"
)]

mod hub;
mod pure;
mod rounds;
mod steady;

use std::{
    env,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use image_swap_load::{Outcome, process, runtime, simulator::SimulatedClusters};
use image_swap_testbed::RunDir;
use tokio::runtime::Builder;

use self::hub::Hub;

/// Number of workload clusters.
const CLUSTERS: usize = 1000;
/// Rounds; odd, so that there is a median.
const ROUNDS: usize = 9;
/// Heartbeats of each cluster.
const BEATS: usize = 10;
/// Threads of the simulated clusters, and of the client without a fleet controller.
const WORKERS: usize = 2;
/// Deadline of a wait for all clusters.
const PATIENCE: Duration = Duration::from_mins(5);

fn main() -> Outcome<()> {
    let arguments = env::args().skip(1).collect::<Vec<_>>();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        // As many threads as the fleet controller has for clusters.
        ["pure", file] => Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .enable_all()
            .build()?
            .block_on(pure::serve(Path::new(file))),
        arguments if arguments.contains(&"--bench") => measure(arguments),
        // `cargo test --benches`: nothing here can fail.
        _ => Ok(()),
    }
}

/// Measures a fleet.
fn measure(arguments: &[&str]) -> Outcome<()> {
    let number = arguments.iter().find_map(|it| it.strip_prefix("--clusters="));
    let number = number.map_or(Ok(CLUSTERS), str::parse)?;
    let binary = env::var_os("IMAGE_SWAP").map(PathBuf::from);
    let binary = binary.ok_or("IMAGE_SWAP names no binary of image-swap")?;
    runtime(WORKERS)?.block_on(fleet(&binary, number))
}

/// Measures a fleet of `number` clusters.
async fn fleet(binary: &Path, number: usize) -> Outcome<()> {
    let directory = RunDir::new("bench")?;
    let clusters = SimulatedClusters::start(directory.path(), number).await?;
    let hub = Hub::start(directory.path())?;
    hub.declare(1).await?;
    let controller = hub.start_controller(binary, directory.path(), number)?;
    hub.wait_leader().await?;
    let empty = process::memory(&controller, "VmRSS:")?;

    let begun = Instant::now();
    hub.import(&clusters).await?;
    eprintln!("{number} kubeconfigs in {:.1} s", begun.elapsed().as_secs_f64());
    hub.wait_states("InForce", number).await?;
    println!(
        "# bundle and first declaration on {number} clusters after {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    usage(&hub, &controller)?;
    let first = per_cluster(&controller, empty, number)?;

    let (rounds, beats) = if number < CLUSTERS { (1, 2) } else { (ROUNDS, BEATS) };
    let pure = rounds::measure(&hub, &controller, &clusters, directory.path(), rounds).await?;
    steady::measure(&hub, &controller, &clusters, beats).await?;
    println!("fleet/steady-kib-per-cluster {:.1}", resident(&controller, empty, number)?);
    rounds::measure_offline(&hub, &controller, &clusters, pure, rounds).await?;
    println!(
        "# memory with no cluster: {empty:.1} MiB; peak for each after the first contact: {first:.1} KiB"
    );
    println!("fleet/peak-kib-per-cluster {:.1}", per_cluster(&controller, empty, number)?);
    Ok(())
}

/// Returns the peak memory for each cluster in KiB.
fn per_cluster(
    controller: &image_swap_testbed::Process,
    empty: f64,
    number: usize,
) -> Outcome<f64> {
    Ok((process::memory(controller, "VmHWM:")? - empty) * 1024.0 / count(number))
}

/// Returns the present memory for each cluster in KiB.
fn resident(controller: &image_swap_testbed::Process, empty: f64, number: usize) -> Outcome<f64> {
    Ok((process::memory(controller, "VmRSS:")? - empty) * 1024.0 / count(number))
}

/// Prints the CPU time of the processes so far.
fn usage(hub: &Hub, controller: &image_swap_testbed::Process) -> Outcome<()> {
    println!(
        "# CPU so far: fleet controller {:.1} s, API server and etcd of the hub {:.1} s",
        process::cpu(controller)?,
        hub.cpu()?,
    );
    Ok(())
}

/// Returns a number of clusters or requests for a quotient.
#[expect(clippy::cast_precision_loss, reason = "no benchmark counts 2^52 clusters")]
const fn count(number: usize) -> f64 {
    number as f64
}
