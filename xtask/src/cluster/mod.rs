//! `cargo xtask cluster`: a whole cluster that runs until it is stopped.
//!
//! A background process owns the cluster and listens on a socket. The parts end with
//! that process, however it ends.

mod demo;

use std::{
    env,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use image_swap_testbed::{Cache, Cluster, Minor, Parts, Setup, Wait, until};

use crate::{host::Host, image};

/// The time that `up` waits for the cluster. Each part has its own, shorter deadline.
const DEADLINE: Duration = Duration::from_mins(15);

/// A real cluster on this machine: control plane, node, registry
///
/// Needs Debian 12 or 13 and root. Missing parts are built once, see `cargo xtask test`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Environment:
  IMAGE_SWAP_CACHE    the folder of built parts, instead of
                      $XDG_CACHE_HOME/image-swap or ~/.cache/image-swap
  IMAGE_SWAP_ETCD, IMAGE_SWAP_KUBE_APISERVER, IMAGE_SWAP_KUBELET, ...
                      another program in place of the pinned one
  IMAGE_SWAP_KEEP     set to any value: keep the files of stopped parts

Examples:
  cargo xtask cluster up --demo
  cargo xtask cluster up --kubernetes 1.33
  cargo xtask cluster down")]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Start a cluster, leave it running, and print its kubeconfig
    Up(Up),
    /// Stop the cluster and remove its files
    Down,
    /// Show the processes and addresses of the cluster
    Status,
    /// Build and unpack the parts; print their paths
    Parts(Choice),
    /// Own the cluster in the background
    #[command(hide = true)]
    Hold {
        #[arg(long)]
        demo: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Up {
    #[command(flatten)]
    choice: Choice,
    /// Install the chart, run a swapped pod, and print commands to look at it
    #[arg(long)]
    demo: bool,
}

#[derive(Clone, Copy, Debug, clap::Args)]
struct Choice {
    /// Kubernetes minor version
    #[arg(long, value_name = "MINOR", default_value_t = Minor::DEFAULT)]
    kubernetes: Minor,
    /// Install missing Debian packages on this machine
    #[arg(long)]
    install: bool,
}

impl Args {
    pub(crate) fn run(self, host: &Host) -> Result<ExitCode> {
        match self.verb {
            Verb::Up(up) => start(host, &up),
            Verb::Down => down(),
            Verb::Status => status(),
            Verb::Parts(choice) => list(choice),
            Verb::Hold { demo } => hold(host, demo),
        }
        .map(|()| ExitCode::SUCCESS)
    }
}

/// The files of a running cluster.
struct Place {
    folder: PathBuf,
    socket: PathBuf,
    kubeconfig: PathBuf,
    log: PathBuf,
    lock: PathBuf,
}

impl Place {
    fn find() -> Result<Self> {
        let folder = Cache::open()?.path().join("cluster");
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        let path = |name| folder.join(name);
        Ok(Self {
            socket: path("socket"),
            kubeconfig: path("kubeconfig"),
            log: path("log"),
            lock: path("lock"),
            folder,
        })
    }

    /// Sends a request to the background process; `None` if it does not run.
    fn send(&self, request: &str) -> Result<Option<String>> {
        let Ok(mut stream) = UnixStream::connect(&self.socket) else { return Ok(None) };
        writeln!(stream, "{request}")?;
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .context("the background process of the cluster ended")?;
        Ok(Some(answer))
    }
}

fn start(host: &Host, Up { choice, demo }: &Up) -> Result<()> {
    let place = Place::find()?;
    if let Some(running) = place.send("status")? {
        return print(&running);
    }
    obtain(*choice)?;
    if *demo {
        image::of_tests(host)?;
    }
    File::create(&place.log).with_context(|| format!("write {}", place.log.display()))?;
    let log = || File::options().append(true).open(&place.log);
    // A session of its own: it outlives this terminal.
    let mut holder = Command::new("setsid")
        .arg(env::current_exe()?)
        .args(["cluster", "hold"])
        .args(demo.then_some("--demo"))
        .env(Minor::VARIABLE, choice.kubernetes.to_string())
        .stdin(Stdio::null())
        .stdout(log()?)
        .stderr(log()?)
        .spawn()
        .context("start setsid (Debian package util-linux)")?;
    let running = follow(&place, &mut holder)?;
    print(&running)
}

/// Prints the log of the background process until it answers or ends.
fn follow(place: &Place, holder: &mut Child) -> Result<String> {
    let mut log = File::open(&place.log)?;
    let started = until("the cluster", DEADLINE, || {
        let ended = holder.try_wait();
        let answer = place.send("status");
        io::copy(&mut log, &mut io::stderr()).map_err(|error| Wait::NotYet(error.to_string()))?;
        match (answer, ended) {
            (Ok(Some(running)), _) => Ok(Some(running)),
            (_, Ok(Some(_))) => Ok(None),
            _ => Err(Wait::NotYet("still starting".into())),
        }
    })?;
    started.with_context(|| format!("the cluster did not start; see {}", place.log.display()))
}

fn down() -> Result<()> {
    let place = Place::find()?;
    let answer = place.send("down")?;
    fs::remove_dir_all(&place.folder)
        .with_context(|| format!("remove {}", place.folder.display()))?;
    print(answer.as_deref().unwrap_or("no cluster is up\n"))
}

fn status() -> Result<()> {
    match Place::find()?.send("status")? {
        Some(answer) => print(&answer),
        None => bail!("no cluster is up; `cargo xtask cluster up` starts one"),
    }
}

/// Builds and unpacks the missing parts.
///
/// # Errors
/// A part cannot be had on this machine.
fn obtain(Choice { kubernetes, install }: Choice) -> Result<Parts> {
    let setup = Setup { progress: &report, install, kubernetes: vec![kubernetes] };
    let parts = Parts::obtain(&setup)?;
    let missing = parts.list().into_iter().filter_map(Result::err);
    let missing: Vec<String> = missing.map(ToString::to_string).collect();
    if !missing.is_empty() {
        bail!("{}", missing.join("\n"));
    }
    Ok(parts)
}

/// Prints the path of each part.
fn list(choice: Choice) -> Result<()> {
    let parts = obtain(choice)?;
    let lines = parts.list().into_iter().flatten();
    lines
        .map(|(name, path)| format!("{name:<24}{}\n", path.display()))
        .try_for_each(|line| print(&line))
}

/// Prints a step. A closed terminal does not stop the work.
fn report(step: &str) {
    let _ = writeln!(io::stderr(), "{step}");
}

fn hold(host: &Host, demo: bool) -> Result<()> {
    let place = Place::find()?;
    let lock = File::create(&place.lock)?;
    if lock.try_lock().is_err() {
        bail!("a cluster is being started or stopped already");
    }
    let start = Instant::now();
    let parts = Parts::present()?;
    let cluster = Cluster::start(&parts, &report)?;
    if demo {
        demo::run(&cluster, &parts, &host.root, &report)?;
    }
    fs::copy(cluster.kubeconfig(), &place.kubeconfig)?;
    let started = start.elapsed();
    match fs::remove_file(&place.socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let listener = UnixListener::bind(&place.socket)?;
    let mut last = loop {
        let (stream, _) = listener.accept()?;
        let mut request = String::new();
        BufReader::new(&stream).read_line(&mut request)?;
        if request == "down\n" {
            break stream;
        }
        // A client that is gone misses only the answer.
        let _ = describe(&stream, &cluster, &parts, &place, started);
        if demo {
            let _ = writeln!(&stream, "\n{}", demo::COMMANDS.join("\n"));
        }
    };
    drop(cluster);
    fs::remove_file(&place.socket)?;
    fs::remove_file(&place.kubeconfig)?;
    writeln!(last, "the cluster is down")?;
    Ok(())
}

/// Writes the processes and addresses, and lines for the shell.
fn describe(
    mut out: impl Write,
    cluster: &Cluster,
    parts: &Parts,
    place: &Place,
    started: Duration,
) -> io::Result<()> {
    let Cluster { node, control_plane, registry } = cluster;
    let minor = parts.minor();
    writeln!(out, "Kubernetes {minor}, ready after {:.1} s", started.as_secs_f64())?;
    for process in cluster.processes() {
        let name = process.name();
        match (process.pid(), process.resident_bytes()) {
            (Some(pid), Some(bytes)) => {
                writeln!(out, "{name:<24}pid {pid:<8}{:>4} MiB", bytes >> 20)?;
            }
            _ => writeln!(out, "{name:<24}not running, see {}", process.log().display())?,
        }
    }
    writeln!(out, "API server              {}", control_plane.url())?;
    writeln!(out, "registry                {}://{}", registry.scheme(), registry.address())?;
    writeln!(out, "node                    {} at {}", node.name(), node.address())?;
    let programs = parts.servers().ok().and_then(|parts| parts.kubectl.parent());
    if let Some(folder) = programs {
        writeln!(out, "export PATH={}:$PATH", folder.display())?;
    }
    writeln!(out, "export KUBECONFIG={}", place.kubeconfig.display())
}

fn print(text: &str) -> Result<()> {
    io::stdout().write_all(text.as_bytes()).context("write the answer")
}
