//! Throughput, server CPU per request, memory and time to readiness of the webhook, over TLS on
//! four connections.
//!
//! Throughput and CPU are ratios to two servers of the same stack with a constant answer: one
//! reads the bytes of the body, the other one parses its JSON. Each server is a process: this
//! binary, or the `image-swap` of the variable `IMAGE_SWAP`. Rounds of two servers alternate, so
//! that other work of the machine affects both alike.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints what it measured"
)]

mod process;

use std::{
    env,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use image_swap_core::rule::{MapForm, RuleSet, parse};
use image_swap_load::{
    Outcome, closed, constant,
    http::{Protocol, ReviewClient, connect},
    runtime, sample,
    statistics::{interval, median, quantile},
};
use image_swap_serve::{
    Limits,
    pki::{CertificateInForce, LocalAuthority},
};
use image_swap_webhook::{
    AdmissionMetrics, RulesInForce, SettingsInForce, TemplateNamespaces, Webhook,
};
use tokio::net::TcpListener;

use self::process::Process;

/// Duration of a round. Many short rounds spread other work of the machine over both servers.
const ROUND: Duration = Duration::from_millis(100);
/// Number of rounds of each server.
const ROUNDS: u32 = 100;
/// Threads of a server, the same number as in `image-swap webhook`.
const WORKERS: usize = 1;
/// Threads of the load, for two processors.
const LOAD_WORKERS: usize = 2;

fn main() -> Outcome<()> {
    let arguments = env::args().skip(1).collect::<Vec<_>>();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["serve", directory] => runtime(WORKERS)?.block_on(serve(Path::new(directory))),
        ["constant", reads, directory] => {
            runtime(WORKERS)?.block_on(constant(reads, Path::new(directory)))
        }
        arguments if arguments.contains(&"--bench") => runtime(LOAD_WORKERS)?.block_on(measure()),
        // `cargo test --benches`: nothing here can fail.
        _ => Ok(()),
    }
}

async fn measure() -> Outcome<()> {
    let directory = tempfile::tempdir()?;
    let ready = median((0..11).map(|_| time_to_ready(directory.path())).collect::<Outcome<_>>()?);
    println!("webhook/ready-ms {:.1}", ready * 1e3);

    let webhook = start_webhook(directory.path())?;
    println!("webhook/idle-rss-mib {:.1}", webhook.peak_mib()?);
    let constant = |reads: &str| {
        let arguments = ["constant".as_ref(), reads.as_ref(), directory.path().as_ref()];
        Process::start(&this()?, &arguments)
    };
    let others = [("constant", constant("bytes")?), ("constant-json", constant("json")?)];
    let authority = LocalAuthority::open(directory.path(), SystemTime::now())?.certificate_file();
    for protocol in [Protocol::Http1, Protocol::Http2] {
        for (name, other) in &others {
            compare(&webhook, other, name, protocol, &authority).await?;
        }
    }
    println!("webhook/admission-us {:.1}", webhook.mean_admission()? * 1e6);
    println!("webhook/peak-rss-mib {:.1}", webhook.peak_mib()?);
    Ok(())
}

/// Prints throughput and CPU of `webhook` as ratios to `other`.
async fn compare(
    webhook: &Process,
    other: &Process,
    name: &str,
    protocol: Protocol,
    authority: &Path,
) -> Outcome<()> {
    let mut webhook_load = connect(webhook.address, authority, protocol).await?;
    let mut other_load = connect(other.address, authority, protocol).await?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let a = round(webhook, &mut webhook_load).await?;
        rounds.push([a, round(other, &mut other_load).await?]);
    }
    let ratios = rounds.iter().map(|[a, b]| a.rate() / b.rate()).collect::<Vec<_>>();
    let [low, high] = [0.25, 0.75].map(|share| quantile(ratios.clone(), share));
    println!("throughput/{protocol}/{name} {:.3}", median(ratios));
    println!("# {protocol}: in half of all rounds between {low:.3} and {high:.3}");
    let all = rounds.iter().collect::<Vec<_>>();
    let [webhook, other] = [0, 1].map(|server| Round::sum(&all, server));
    let [ratio, low, high] =
        interval(&rounds, |rounds| Round::sum(rounds, 0).cost() / Round::sum(rounds, 1).cost());
    println!("server-cpu/{protocol}/{name} {ratio:.3}");
    println!("# {protocol}: 95 % interval of a bootstrap over rounds: {low:.3} to {high:.3}");
    println!(
        "# {protocol}: {:.0} requests a second at {:.1} us of server CPU, {name} {:.0} at {:.1} us",
        webhook.rate(),
        webhook.cost() * 1e6,
        other.rate(),
        other.cost() * 1e6,
    );
    Ok(())
}

/// Measurements of one round, or the sum of several.
#[derive(Default)]
struct Round {
    requests: f64,
    seconds: f64,
    /// CPU time of the server, in seconds.
    cpu: f64,
}

impl Round {
    /// Adds up the rounds of one of two servers.
    fn sum(rounds: &[&[Self; 2]], server: usize) -> Self {
        rounds.iter().filter_map(|pair| pair.get(server)).fold(Self::default(), |sum, round| Self {
            requests: sum.requests + round.requests,
            seconds: sum.seconds + round.seconds,
            cpu: sum.cpu + round.cpu,
        })
    }

    /// Returns the requests per second.
    fn rate(&self) -> f64 {
        self.requests / self.seconds
    }

    /// Returns the server CPU of one request, in seconds.
    fn cost(&self) -> f64 {
        self.cpu / self.requests
    }
}

async fn round(process: &Process, load: &mut Vec<ReviewClient>) -> Outcome<Round> {
    let before = process.cpu()?;
    let begun = Instant::now();
    let requests = closed(load, ROUND).await?;
    let seconds = begun.elapsed().as_secs_f64();
    Ok(Round { requests, seconds, cpu: process.cpu()? - before })
}

fn this() -> Outcome<PathBuf> {
    Ok(env::current_exe()?)
}

/// Starts the webhook: the binary of `IMAGE_SWAP`, or this one.
fn start_webhook(directory: &Path) -> Outcome<Process> {
    match env::var_os("IMAGE_SWAP") {
        None => Process::start(&this()?, &["serve".as_ref(), directory.as_ref()]),
        Some(binary) => Process::start_binary(Path::new(&binary), directory),
    }
}

/// Returns the seconds from start until `/readyz` succeeds.
fn time_to_ready(directory: &Path) -> Outcome<f64> {
    let begun = Instant::now();
    let process = start_webhook(directory)?;
    while !process.is_ready()? {}
    Ok(begun.elapsed().as_secs_f64())
}

/// Serves a constant answer until the process is killed.
async fn constant(reads: &str, directory: &Path) -> Outcome<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    process::announce(address, address);
    constant::serve(reads, directory, "127.0.0.1", listener).await
}

/// Serves the webhook until the process is killed.
async fn serve(directory: &Path) -> Outcome<()> {
    let rules = RulesInForce::default();
    let certificate = CertificateInForce::default();
    let metrics = AdmissionMetrics::new(&rules, &certificate);
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let webhook = Webhook {
        listen: any,
        admin_listen: any,
        limits: Limits::default(),
        templates: TemplateNamespaces::default(),
        settings: SettingsInForce::default(),
        rules: rules.clone(),
        certificate: certificate.clone(),
        metrics,
    };
    let bound = webhook.bind()?;
    rules.replace(RuleSet::new(parse::rules(sample::RULES, MapForm::List).0));
    let authority = LocalAuthority::open(directory, SystemTime::now())?;
    certificate.replace(authority.issue(&["127.0.0.1".to_owned()], SystemTime::now())?);
    process::announce(bound.address, bound.admin_address);
    let _running = bound.run();
    std::future::pending().await
}
