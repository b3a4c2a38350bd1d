//! Requests per second over TLS on four connections, as a ratio to servers of
//! the same stack that read the body (its bytes alone, or as JSON) and answer a
//! constant; memory under that load; time from start to readiness.
//!
//! Each server is a process of its own: this binary again, or, for ours, the
//! one that `IMAGE_SWAP` names. Rounds of both alternate within one run, so that
//! whatever else the machine does meets both.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints what it measured"
)]

mod constant;
mod load;
mod process;
mod sample;

use std::{
    env,
    error::Error,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use image_swap_core::rule::{Form, RuleSet, map};
use image_swap_webhook::{
    Authority, CertificateInForce, Limits, Metrics, RulesInForce, Server, SettingsInForce,
};
use tokio::runtime::{Builder, Runtime};

use self::{
    constant::Reads,
    load::{Load, Protocol},
    process::Process,
};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Short and many, so that what else the machine does meets both alike.
const ROUND: Duration = Duration::from_millis(100);
const ROUNDS: u32 = 100;
/// As the binary's: see `image-swap webhook`.
const WORKERS: usize = 1;
/// The load may take what the server leaves of two processors.
const LOAD_WORKERS: usize = 2;

fn main() -> Outcome<()> {
    let arguments = env::args().skip(1).collect::<Vec<_>>();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["serve", directory] => runtime(WORKERS)?.block_on(serve(Path::new(directory))),
        ["bytes", directory] => {
            runtime(WORKERS)?.block_on(constant::serve(Path::new(directory), Reads::Bytes))
        }
        ["json", directory] => {
            runtime(WORKERS)?.block_on(constant::serve(Path::new(directory), Reads::Json))
        }
        arguments if arguments.contains(&"--bench") => runtime(LOAD_WORKERS)?.block_on(measure()),
        // `cargo test --benches`: nothing here can fail.
        _ => Ok(()),
    }
}

fn runtime(workers: usize) -> Outcome<Runtime> {
    Ok(Builder::new_multi_thread().worker_threads(workers).enable_all().build()?)
}

async fn measure() -> Outcome<()> {
    let directory = tempfile::tempdir()?;
    let ready = median((0..11).map(|_| time_to_ready(directory.path())).collect::<Outcome<_>>()?);
    println!("webhook/ready-ms {:.1}", ready * 1e3);

    let ours = ours(directory.path())?;
    println!("webhook/idle-rss-mib {:.1}", ours.peak_mib()?);
    let constant =
        |reads: &str| Process::start(&this()?, &[reads.as_ref(), directory.path().as_ref()]);
    let others = [("constant", constant("bytes")?), ("constant-json", constant("json")?)];
    let authority = Authority::open(directory.path(), SystemTime::now())?.certificate_file();
    for protocol in [Protocol::Http1, Protocol::Http2] {
        for (name, other) in &others {
            compare(&ours, other, name, protocol, &authority).await?;
        }
    }
    println!("webhook/admission-us {:.1}", ours.mean_admission()? * 1e6);
    println!("webhook/peak-rss-mib {:.1}", ours.peak_mib()?);
    Ok(())
}

async fn compare(
    ours: &Process,
    other: &Process,
    name: &str,
    protocol: Protocol,
    authority: &Path,
) -> Outcome<()> {
    let mut our_load = Load::connect(ours.address, authority, protocol).await?;
    let mut other_load = Load::connect(other.address, authority, protocol).await?;
    let (mut ratios, mut our_sum, mut other_sum) = (Vec::new(), Round::default(), Round::default());
    for _ in 0..ROUNDS {
        let a = round(ours, &mut our_load).await?;
        let b = round(other, &mut other_load).await?;
        ratios.push(a.rate() / b.rate());
        our_sum.add(&a);
        other_sum.add(&b);
    }
    let [low, middle, high] = quartiles(ratios);
    println!("throughput/{protocol}/{name} {middle:.3}");
    println!("# {protocol}: in half of all rounds between {low:.3} and {high:.3}");
    println!("server-cpu/{protocol}/{name} {:.3}", our_sum.cost() / other_sum.cost());
    println!(
        "# {protocol}: {:.0} requests a second at {:.1} us of server CPU, {name} {:.0} at {:.1} us",
        our_sum.rate(),
        our_sum.cost() * 1e6,
        other_sum.rate(),
        other_sum.cost() * 1e6,
    );
    Ok(())
}

/// What one round came to, or several.
#[derive(Default)]
struct Round {
    requests: f64,
    seconds: f64,
    /// Seconds of CPU that the server took.
    cpu: f64,
}

impl Round {
    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.seconds += other.seconds;
        self.cpu += other.cpu;
    }

    fn rate(&self) -> f64 {
        self.requests / self.seconds
    }

    fn cost(&self) -> f64 {
        self.cpu / self.requests
    }
}

async fn round(process: &Process, load: &mut Load) -> Outcome<Round> {
    let before = process.cpu()?;
    let begun = Instant::now();
    let requests = load.run(ROUND).await?;
    let seconds = begun.elapsed().as_secs_f64();
    Ok(Round { requests, seconds, cpu: process.cpu()? - before })
}

fn median(values: Vec<f64>) -> f64 {
    let [_, middle, _] = quartiles(values);
    middle
}

/// The values below which a quarter, a half and three quarters of all are.
fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values.get(values.len() * quarter / 4).copied().unwrap_or(f64::NAN))
}

fn this() -> Outcome<PathBuf> {
    Ok(env::current_exe()?)
}

fn ours(directory: &Path) -> Outcome<Process> {
    match env::var_os("IMAGE_SWAP") {
        None => Process::start(&this()?, &["serve".as_ref(), directory.as_ref()]),
        Some(binary) => Process::start_binary(Path::new(&binary), directory),
    }
}

/// Seconds from start until `/readyz` says so.
fn time_to_ready(directory: &Path) -> Outcome<f64> {
    let begun = Instant::now();
    let process = ours(directory)?;
    while !process.is_ready()? {}
    Ok(begun.elapsed().as_secs_f64())
}

/// Our server, as the binary makes it.
async fn serve(directory: &Path) -> Outcome<()> {
    let rules = RulesInForce::default();
    let certificate = CertificateInForce::default();
    let metrics = Metrics::new(&rules, &certificate);
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = Server {
        listen: any,
        admin_listen: any,
        limits: Limits::default(),
        settings: SettingsInForce::default(),
        rules: rules.clone(),
        certificate: certificate.clone(),
        metrics,
    };
    let bound = server.bind().await?;
    rules.replace(RuleSet::new(map::parse(sample::RULES, Form::List).0));
    let authority = Authority::open(directory, SystemTime::now())?;
    certificate.replace(authority.issue(&["127.0.0.1".to_owned()], SystemTime::now())?);
    process::announce(bound.address()?, bound.admin_address()?);
    let _running = bound.run();
    std::future::pending().await
}
