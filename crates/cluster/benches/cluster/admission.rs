//! The time that a pod's creation takes without a webhook, with one that always gives the
//! same answer, and with image-swap.
//!
//! The API server reaches both webhooks as in production: through a Service, over
//! HTTP/1.1. Both are registered as the controller registers image-swap.

use std::{
    array, env, fs,
    path::Path,
    time::{Duration, SystemTime},
};

use image_swap_cluster::client;
use image_swap_core::control::{
    policy::FailurePolicy,
    webhooks::{self, Anchor, SYSTEM_NAMESPACES, desired, plan},
};
use image_swap_load::{
    OpenRound, Outcome, open, process, sample,
    statistics::{interval, quantile},
};
use image_swap_serve::pki::LocalAuthority;
use image_swap_testbed::{ControlPlane, Port, Process, RunDir};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::{load::PodLoad, pod, service};

/// Namespaces, each with the name of the webhook that reviews its pods.
const RUNS: [&str; 3] = ["none", "constant", "ours"];
const IMAGES: [&str; 3] = [pod::IMAGE, pod::SWAPPED, pod::SWAPPED];
/// The namespace of both Services.
const NAMESPACE: &str = "webhooks";

/// Short rounds, and many: other work of the machine meets all runs alike.
const ROUND: Duration = Duration::from_secs(1);
const ROUNDS: usize = 60;
/// Rounds that a rate must be held for.
const PROOF: usize = 3;
/// Share of the highest rate that all runs hold. At the highest rate itself pods wait for
/// one another.
const LOAD: f64 = 0.5;
const PATIENCE: Duration = Duration::from_mins(1);

/// Milliseconds of each request, of each run.
type Latencies = [Vec<f64>; 3];

pub(crate) async fn measure(control_plane: &ControlPlane, binary: &Path) -> Outcome<()> {
    let directory = RunDir::new("bench")?;
    let _webhooks = webhooks(control_plane, binary, directory.path())?;
    let client = client(Some(control_plane.kubeconfig())).await?;
    let mut loads = Vec::new();
    for (run, image) in RUNS.iter().zip(IMAGES) {
        let load = PodLoad::new(&client, run, image)?;
        // The API server needs a moment until it sees the registration.
        timeout(PATIENCE, async {
            while load.create().await.ok().as_deref() != Some(image) {
                sleep(Duration::from_millis(50)).await;
            }
        })
        .await?;
        loads.push(load);
    }

    let rate = highest_rate(&loads).await? * LOAD;
    eprintln!("{ROUNDS} rounds of each with {rate:.0} pods a second");
    let before = RUNS.map(|run| own_account(control_plane, run));
    let (mut rounds, mut late) = (Vec::new(), 0);
    for number in 0..ROUNDS {
        let three = interleaved(&loads, number, rate).await?;
        late += three.iter().filter(|round| !round.held).count();
        // A round that ended late counts: without it the slowest pods would be missing.
        rounds.push(three.map(|round| round.latencies));
    }
    println!("admission/rate {rate:.0}");
    println!(
        "# {} pods of each run; {late} of {} rounds ended late; 95 % intervals of a bootstrap over \
         rounds:",
        rounds.iter().map(|[none, ..]| none.len()).sum::<usize>(),
        3 * ROUNDS,
    );
    for (name, share) in [("", 0.5), ("-p99", 0.99)] {
        for (number, run) in RUNS.iter().enumerate() {
            let name = format!("admission/pod-create{name}-ms/{run}");
            print(&name, interval(&rounds, |rounds| pooled(rounds, share)[number]));
        }
        for (number, run) in RUNS.iter().enumerate().skip(1) {
            let added = |all: [f64; 3]| all[number] - all[0];
            let name = format!("admission/added{name}-ms/{run}");
            print(&name, interval(&rounds, |rounds| added(pooled(rounds, share))));
        }
    }
    // A ratio of medians alone: at p99 the difference in its denominator can be zero.
    let ratio = |[none, constant, image_swap]: [f64; 3]| (image_swap - none) / (constant - none);
    print("admission/added", interval(&rounds, |rounds| ratio(pooled(rounds, 0.5))));
    for (run, before) in RUNS.iter().zip(before).skip(1) {
        let ([sum, count], [sum_before, count_before]) =
            (own_account(control_plane, run)?, before?);
        let mean = (sum - sum_before) / (count - count_before) * 1e3;
        println!("admission/api-server-mean-ms/{run} {mean:.3}");
    }
    Ok(())
}

fn print(name: &str, [value, low, high]: [f64; 3]) {
    println!("{name} {value:.3}");
    println!("# {name}: {low:.3} to {high:.3}");
}

/// Returns a quantile of each run over the requests of all rounds.
fn pooled(rounds: &[&Latencies], share: f64) -> [f64; 3] {
    array::from_fn(|run| {
        let all = rounds.iter().filter_map(|round| round.get(run));
        quantile(all.flatten().copied().collect(), share)
    })
}

/// Starts and registers both webhooks, each for the namespace of its name.
fn webhooks(
    control_plane: &ControlPlane,
    binary: &Path,
    directory: &Path,
) -> Outcome<[Process; 2]> {
    for name in RUNS.into_iter().chain([NAMESPACE]) {
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": name, "labels": { label(name): "enabled" } },
        });
        control_plane.create("/api/v1/namespaces", &namespace)?;
    }
    let kept = directory.display().to_string();
    let [constant_port, port, admin] = [Port::reserve()?, Port::reserve()?, Port::reserve()?];
    let number = constant_port.number().to_string();
    let arguments = ["constant".to_owned(), kept.clone(), host("constant"), number];
    let constant = process::start(&env::current_exe()?, arguments, &constant_port, directory)?;
    let listen = format!("--listen=0.0.0.0:{}", port.number());
    let admin = format!("--admin-listen=127.0.0.1:{}", admin.number());
    let name = format!("--dns-name={}", host("ours"));
    let arguments = ["webhook", "--mirrors", sample::RULES, "--certificate-dir", &kept];
    let arguments = arguments.into_iter().chain([listen.as_str(), &admin, &name]);
    let image_swap = process::start(binary, arguments, &port, directory)?;
    let authority = LocalAuthority::open(directory, SystemTime::now())?.certificate_file();
    let authority = fs::read_to_string(authority)?;
    for (run, port) in [("constant", &constant_port), ("ours", &port)] {
        service::create(control_plane, NAMESPACE, run, port.number())?;
        let path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
        control_plane.create(path, &registration(run, &authority)?)?;
    }
    Ok([constant, image_swap])
}

/// Returns the host name of a webhook, as API servers expect it in certificates.
fn host(run: &str) -> String {
    format!("{run}.{NAMESPACE}.svc")
}

/// Returns a registration like that of the controller, for the webhook of `run`. The names
/// of its entries keep the API server's accounts apart.
fn registration(run: &str, authority: &str) -> Outcome<Value> {
    let settings = webhooks::Settings {
        name: run.to_owned(),
        release: run.to_owned(),
        owner: Anchor { name: run.to_owned(), uid: run.to_owned() },
        service: webhooks::Service {
            namespace: NAMESPACE.to_owned(),
            name: run.to_owned(),
            port: service::PORT,
        },
        ca_bundle: authority.to_owned(),
        policy: FailurePolicy::Fail,
        timeout_seconds: 5,
        system_namespaces: SYSTEM_NAMESPACES.map(str::to_owned).into(),
        opt_in: true,
        namespace_label: label(run),
        template_namespaces: Vec::new(),
    };
    let mut registration = plan(&desired(&settings), None).ok_or("no registration")?;
    for entry in registration["webhooks"].as_array_mut().into_iter().flatten() {
        if let Some(name) = entry["name"].as_str() {
            entry["name"] = format!("{name}.{run}").into();
        }
    }
    Ok(registration)
}

/// Returns the label of the namespace whose pods the webhook of `run` reviews.
fn label(run: &str) -> String {
    format!("bench/{run}")
}

/// Returns the highest rate that all runs hold, in steps of a tenth.
async fn highest_rate(loads: &[PodLoad]) -> Outcome<f64> {
    let mut rate = f64::INFINITY;
    for load in loads {
        rate = rate.min(load.capacity(ROUND * 2).await?);
    }
    'slower: loop {
        for number in 0..PROOF {
            if interleaved(loads, number, rate).await?.iter().any(|round| !round.held) {
                rate *= 0.9;
                continue 'slower;
            }
        }
        return Ok(rate);
    }
}

/// Runs one round of each. The first run is another one each time.
async fn interleaved(loads: &[PodLoad], number: usize, rate: f64) -> Outcome<[OpenRound; 3]> {
    let mut rounds = [const { None }; 3];
    for turn in 0..3 {
        let run = (number + turn) % 3;
        rounds[run] = Some(open(&loads[run], rate, ROUND).await?);
    }
    let [Some(none), Some(constant), Some(image_swap)] = rounds else {
        return Err("a round".into());
    };
    Ok([none, constant, image_swap])
}

/// Returns the API server's own account of a webhook: seconds and requests.
fn own_account(control_plane: &ControlPlane, run: &str) -> Outcome<[f64; 2]> {
    let metrics = control_plane.request("GET", "/metrics", None)?.body;
    let name = format!("name=\"pods.image-swap.io.{run}\"");
    let sum = |suffix: &str| -> Outcome<f64> {
        let metric = format!("apiserver_admission_webhook_admission_duration_seconds_{suffix}");
        let lines = metrics.lines().filter(|line| line.starts_with(&metric));
        let values = lines.filter(|line| line.contains(&name));
        let values = values.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        Ok(values.sum())
    };
    Ok([sum("sum")?, sum("count")?])
}
