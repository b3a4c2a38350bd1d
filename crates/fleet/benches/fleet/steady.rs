//! The cost of a fleet in which nothing changes but heartbeats.

use std::time::Duration;

use image_swap_load::{Outcome, audit::Requests, process, simulator::SimulatedClusters};
use image_swap_testbed::Process;
use tokio::time::sleep;

use crate::{
    count,
    hub::{Hub, USER},
    rounds::average,
};

/// Time between two heartbeats. Workload clusters have a minute.
const PAUSE: Duration = Duration::from_secs(2);

/// Measures the requests and the CPU time of the fleet controller during `number` heartbeats of each
/// cluster.
pub(crate) async fn measure(
    hub: &Hub,
    controller: &Process,
    clusters: &SimulatedClusters,
    number: usize,
) -> Outcome<()> {
    sleep(PAUSE).await;
    let (before, first, cpu) = (clusters.total(), hub.audit.lines()?, process::cpu(controller)?);
    for _ in 0..number {
        for index in 0..clusters.len() {
            clusters.beat(index);
        }
        sleep(PAUSE).await;
    }
    let (after, cpu) = (clusters.total(), process::cpu(controller)? - cpu);
    let Requests { watches, reads, writes, renewals } = hub.audit.requests(USER, first)?;
    let beats = number * clusters.len();
    println!(
        "# {beats} heartbeats: {} reads, {} writes and {} new watches on workload clusters; {reads} \
         reads, {writes} writes, {watches} new watches and {renewals} renewals of the Lease on the hub",
        after.reads - before.reads,
        after.writes - before.writes,
        after.watches - before.watches,
    );
    println!("fleet/steady-writes {}", count(writes) + average(after.writes - before.writes, 1));
    println!("fleet/steady-reads {}", count(reads) + average(after.reads - before.reads, 1));
    println!("fleet/watches-per-cluster {:.3}", average(after.open_watches, clusters.len()));
    println!("fleet/heartbeat-cpu-us {:.1}", cpu / count(beats) * 1e6);
    let bytes = average(after.sent - before.sent, beats);
    println!(
        "# a heartbeat: {bytes:.0} bytes; open connections: {:.3} for each cluster",
        average(after.open_connections, clusters.len()),
    );
    Ok(())
}
