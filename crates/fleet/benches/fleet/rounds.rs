//! The time from an update of the declaration to all clusters, compared with the time of the same
//! requests without a fleet controller.

use std::{error::Error, path::Path, time::Duration};

use image_swap_load::{
    Outcome, process,
    simulator::{Availability, SimulatedClusters},
    statistics::{median, quantile},
};
use image_swap_testbed::Process;
use serde_json::Value;
use tokio::{
    task::block_in_place,
    time::{Instant, sleep},
};

use crate::{PATIENCE, count, hub::Hub, pure::PureClient};

/// Share of clusters that are offline: one of this number.
const OFFLINE: usize = 10;
const LOOK: Duration = Duration::from_millis(5);
/// CPU time in a second below which the fleet controller is idle, in seconds.
const REST: f64 = 0.02;
/// Number of the first declaration after that of the start.
const FIRST: u64 = 2;

/// Seconds from the begin of a round to the last request of it, for each cluster.
type RoundTimes = Vec<f64>;

/// Measures updates of all clusters, and prints them. Returns the client without a fleet
/// controller.
pub(crate) async fn measure(
    hub: &Hub,
    controller: &Process,
    clusters: &SimulatedClusters,
    directory: &Path,
    rounds: usize,
) -> Outcome<PureClient> {
    let number = clusters.len();
    // The first round shows the number of requests of an update.
    clusters.begin_record(0);
    clusters.begin_round();
    hub.declare(FIRST).await?;
    hub.wait_states("InForce", number).await?;
    settle(clusters, controller).await?;
    let record = clusters.end_record(0);
    let writes = clusters.round(0).writes;
    println!("# an update: {} requests, {writes} of them writes", record.len());
    let mut pure = PureClient::start(directory, clusters)?;
    let mut ratios = [Vec::new(), Vec::new()];
    for revision in (FIRST + 1..).take(rounds) {
        let (cpu, hub_cpu) = (process::cpu(controller)?, hub.cpu()?);
        clusters.begin_record(0);
        let updated = update(hub, clusters, revision, 0, writes).await?;
        let begun = Instant::now();
        settle(clusters, controller).await?;
        hub.wait_states("InForce", number).await?;
        let reported = begun.elapsed().as_secs_f64();
        let (cpu, hub_cpu) = (process::cpu(controller)? - cpu, hub.cpu()? - hub_cpu);
        let alone = send(clusters, &mut pure, 0)?;
        println!(
            "# update {revision}: {}, without a controller {}; all reports written within {reported:.0} s more; \
             CPU of the fleet controller {cpu:.2} s, of the hub {hub_cpu:.2} s",
            shown(&updated),
            shown(&alone),
        );
        for (ratios, share) in ratios.iter_mut().zip([0.5, 0.99]) {
            ratios.push(quantile(updated.clone(), share) / quantile(alone.clone(), share));
        }
    }
    for (ratios, name) in ratios.into_iter().zip(["p50", "p99"]) {
        print_ratio(&format!("fleet/update-{name}"), ratios);
    }
    Ok(pure)
}

/// Measures updates while clusters are offline, and prints them.
pub(crate) async fn measure_offline(
    hub: &Hub,
    controller: &Process,
    clusters: &SimulatedClusters,
    mut pure: PureClient,
    rounds: usize,
) -> Outcome<()> {
    let offline = clusters.len() / OFFLINE;
    for index in 0..offline {
        let silent = index % 2 == 0;
        let availability = if silent { Availability::Silent } else { Availability::Closed };
        clusters.set_availability(index, availability);
    }
    let writes = clusters.round(offline).writes;
    let mut ratios = Vec::new();
    for revision in (100..).take(rounds) {
        clusters.begin_record(offline);
        let updated = update(hub, clusters, revision, offline, writes).await?;
        settle(clusters, controller).await?;
        let alone = send(clusters, &mut pure, offline)?;
        println!(
            "# update {revision} with {offline} clusters offline: {}, without a controller {}",
            shown(&updated),
            shown(&alone),
        );
        ratios.push(quantile(updated, 0.99) / quantile(alone, 0.99));
    }
    print_ratio("fleet/offline-p99", ratios);
    hub.wait_states("Unreachable", offline).await?;
    println!("# CPU of the fleet controller so far: {:.1} s", process::cpu(controller)?);
    for index in 0..offline {
        clusters.set_availability(index, Availability::Online);
    }
    let begun = Instant::now();
    hub.wait_states("InForce", clusters.len()).await?;
    println!("# all in force {:.1} s after the return", begun.elapsed().as_secs_f64());
    Ok(())
}

fn print_ratio(name: &str, ratios: Vec<f64>) {
    let [least, most] = [0.0, 1.0].map(|share| quantile(ratios.clone(), share));
    let rounds = ratios.len();
    println!("{name} {:.2}", median(ratios));
    println!("# {rounds} rounds: {least:.2} to {most:.2}");
}

/// Declares `revision`, and waits until the clusters from `first` have received `writes` writes.
async fn update(
    hub: &Hub,
    clusters: &SimulatedClusters,
    revision: u64,
    first: usize,
    writes: u64,
) -> Outcome<RoundTimes> {
    clusters.begin_round();
    clusters.hold_reports();
    hub.declare(revision).await?;
    let begun = Instant::now();
    let is_done = |index| {
        let round = clusters.round(index);
        round.declared.is_some() && round.writes >= writes
    };
    wait(clusters, first, is_done).await?;
    let times = times(clusters, first, begun);
    clusters.release_reports();
    Ok(times)
}

/// Sends the recorded requests of the last update without a fleet controller. An annotation makes each
/// write a change, as those of the update were.
fn send(clusters: &SimulatedClusters, pure: &mut PureClient, first: usize) -> Outcome<RoundTimes> {
    let mut requests = clusters.end_record(first);
    for request in requests.iter_mut().filter(|it| !it.body.is_empty()) {
        let mut body: Value = serde_json::from_str(&request.body)?;
        body["metadata"]["annotations"]["example.org/client"] = "pure".into();
        request.body = body.to_string();
    }
    clusters.begin_round();
    let begun = Instant::now();
    block_in_place(|| pure.round(first, &requests))?;
    Ok(times(clusters, first, begun))
}

fn times(clusters: &SimulatedClusters, first: usize, begun: Instant) -> RoundTimes {
    let rounds = (first..clusters.len()).map(|index| clusters.round(index));
    let since = |at: Instant| at.saturating_duration_since(begun).as_secs_f64();
    rounds.filter_map(|it| it.last).map(since).collect()
}

fn shown(times: &[f64]) -> String {
    let [first, p50, p99] = [0.0, 0.5, 0.99].map(|share| quantile(times.to_vec(), share));
    format!("first cluster {first:.3} s, p50 {p50:.3} s, p99 {p99:.3} s")
}

/// Waits until every cluster from `first` `is_done`.
async fn wait(
    clusters: &SimulatedClusters,
    first: usize,
    is_done: impl Fn(usize) -> bool,
) -> Outcome<()> {
    let begun = Instant::now();
    loop {
        let done = (first..clusters.len()).filter(|&index| is_done(index)).count();
        if done == clusters.len() - first {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("expected {} clusters, found {done}", clusters.len()).into());
        }
        sleep(LOOK).await;
    }
}

/// Waits until no cluster receives a request, and the fleet controller has written all reports.
async fn settle(clusters: &SimulatedClusters, controller: &Process) -> Outcome<()> {
    let begun = Instant::now();
    let look =
        || Ok::<_, Box<dyn Error + Send + Sync>>((clusters.total(), process::cpu(controller)?));
    let mut before = look()?;
    loop {
        sleep(Duration::from_secs(1)).await;
        let now = look()?;
        let is_quiet = now.0.writes == before.0.writes && now.0.reads == before.0.reads;
        if is_quiet && now.1 - before.1 <= REST {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("expected rest, found {now:?} after {before:?}").into());
        }
        before = now;
    }
}

/// Returns the average of `total` over `number` clusters.
pub(crate) fn average(total: u64, number: usize) -> f64 {
    count(usize::try_from(total).unwrap_or_default()) / count(number)
}
