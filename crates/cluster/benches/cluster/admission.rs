//! How long a pod's creation takes: without a webhook, with one that answers a
//! constant, with ours.

use std::{
    array, env, fs,
    path::Path,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use image_swap_cluster::client;
use image_swap_testbed::{ControlPlane, Port, Process, RunDir};
use image_swap_webhook::Authority;
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::{
    Outcome,
    load::{Load, Round},
    process, sample,
    statistics::{median, quantile},
};

/// Namespaces, each named for the webhook that is asked about its pods.
const RUNS: [&str; 3] = ["none", "constant", "ours"];
const IMAGES: [&str; 3] = ["nginx:1.27", sample::SWAPPED, sample::SWAPPED];

/// Short and many, so that what else the machine does meets all alike.
const ROUND: Duration = Duration::from_secs(1);
const ROUNDS: usize = 31;
/// Rounds in which a rate has to prove itself.
const PROOF: usize = 3;
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) async fn measure(control_plane: &ControlPlane, binary: &Path) -> Outcome<()> {
    let directory = RunDir::new("bench")?;
    let _webhooks = webhooks(control_plane, binary, directory.path())?;
    let client = client(Some(control_plane.kubeconfig())).await?;
    let mut loads = Vec::new();
    for (run, image) in RUNS.iter().zip(IMAGES) {
        let load = Load::new(&client, run)?;
        // The API server takes a moment to see what is registered.
        timeout(PATIENCE, async {
            while load.create().await.ok().as_deref() != Some(image) {
                sleep(Duration::from_millis(50)).await;
            }
        })
        .await?;
        loads.push(load);
    }

    let rate = highest_rate(&loads).await?;
    eprintln!("{rate:.0} pods a second are held by all: {ROUNDS} rounds of each");
    let before = RUNS.map(|run| own_account(control_plane, run));
    let (mut added, mut ratios) = ([const { Vec::new() }; 2], Vec::new());
    let (mut medians, mut not_held) = ([const { Vec::new() }; 3], 0);
    for number in 0..ROUNDS {
        let rounds = interleaved(&loads, number, rate).await?;
        if rounds.iter().any(|round| !round.held) {
            not_held += 1;
            continue;
        }
        let [none, constant, ours] = array::from_fn(|run| median(&rounds[run].latencies));
        for (all, one) in medians.iter_mut().zip([none, constant, ours]) {
            all.push(one);
        }
        added[0].push(constant - none);
        added[1].push(ours - none);
        ratios.push((ours - none) / (constant - none));
    }
    let [none, constant, ours] = medians.map(|all| median(&all));
    println!("admission/rate {rate:.0}");
    println!("admission/pod-create-ms/none {none:.3}");
    println!("admission/pod-create-ms/constant {constant:.3}");
    println!("admission/pod-create-ms/ours {ours:.3}");
    println!("admission/added {:.3}", median(&added[1]) / median(&added[0]));
    println!(
        "# added a round: median {:.3}, quartiles {:.3} and {:.3}; {not_held} of {ROUNDS} rounds \
         did not hold the rate",
        median(&ratios),
        quantile(&ratios, 0.25),
        quantile(&ratios, 0.75),
    );
    for (run, before) in RUNS.iter().zip(before).skip(1) {
        let ([sum, count], [sum_before, count_before]) =
            (own_account(control_plane, run)?, before?);
        let mean = (sum - sum_before) / (count - count_before) * 1e3;
        println!("admission/api-server-mean-ms/{run} {mean:.3}");
    }
    Ok(())
}

/// Both webhooks, registered, each for the namespace of its name.
fn webhooks(
    control_plane: &ControlPlane,
    binary: &Path,
    directory: &Path,
) -> Outcome<[Process; 2]> {
    for run in RUNS {
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": run, "labels": { "asks": run } },
        });
        control_plane.create("/api/v1/namespaces", &namespace)?;
    }
    let authority = Authority::open(directory, SystemTime::now())?.certificate_file();
    let authority = STANDARD.encode(fs::read(authority)?);
    let register = |run: &str, port: &Port| {
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": { "name": run },
            "webhooks": [{
                "name": webhook(run),
                "clientConfig": {
                    "url": format!("https://127.0.0.1:{}/mutate", port.number()),
                    "caBundle": authority,
                },
                "rules": [{
                    "operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"],
                    "resources": ["pods"],
                }],
                "namespaceSelector": { "matchLabels": { "asks": run } },
                "failurePolicy": "Fail", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            }],
        });
        let path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
        control_plane.create(path, &configuration)
    };
    let kept = directory.display().to_string();
    let [constant_port, port, admin] = [Port::reserve()?, Port::reserve()?, Port::reserve()?];
    let arguments = ["constant".to_owned(), kept.clone(), constant_port.number().to_string()];
    let constant = process::start(&env::current_exe()?, arguments, &constant_port, directory)?;
    let listen = format!("--listen=127.0.0.1:{}", port.number());
    let admin = format!("--admin-listen=127.0.0.1:{}", admin.number());
    let arguments = ["webhook", "--mirrors", sample::RULES, "--certificate-dir", &kept];
    let arguments = arguments.into_iter().chain([listen.as_str(), admin.as_str()]);
    let ours = process::start(binary, arguments, &port, directory)?;
    register("constant", &constant_port)?;
    register("ours", &port)?;
    Ok([constant, ours])
}

fn webhook(run: &str) -> String {
    format!("{run}.example.org")
}

/// The highest rate that all runs hold, in steps of a tenth.
async fn highest_rate(loads: &[Load]) -> Outcome<f64> {
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

/// A round of each, another one first each time.
async fn interleaved(loads: &[Load], number: usize, rate: f64) -> Outcome<[Round; 3]> {
    let mut rounds = [const { None }; 3];
    for turn in 0..3 {
        let run = (number + turn) % 3;
        rounds[run] = Some(loads[run].round(rate, ROUND, IMAGES[run]).await?);
    }
    let [Some(none), Some(constant), Some(ours)] = rounds else { return Err("a round".into()) };
    Ok([none, constant, ours])
}

/// What the API server's own account of a webhook comes to: seconds, requests.
fn own_account(control_plane: &ControlPlane, run: &str) -> Outcome<[f64; 2]> {
    let metrics = control_plane.request("GET", "/metrics", None)?.body;
    let name = format!("name=\"{}\"", webhook(run));
    let sum = |suffix: &str| -> Outcome<f64> {
        let metric = format!("apiserver_admission_webhook_admission_duration_seconds_{suffix}");
        let lines = metrics.lines().filter(|line| line.starts_with(&metric));
        let values = lines.filter(|line| line.contains(&name));
        let values = values.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        Ok(values.sum())
    };
    Ok([sum("sum")?, sum("count")?])
}
