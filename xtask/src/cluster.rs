//! `cargo xtask cluster`: a whole cluster that stays until it is taken down.
//!
//! A process of its own holds it and listens on a socket; the parts end with
//! that process, however it ends.

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

/// How long `up` waits for the cluster. Each part has its own, shorter deadline.
const DEADLINE: Duration = Duration::from_mins(15);

/// A real cluster on this machine: control plane, node, registry
///
/// Needs Debian 12 and root. What is missing is got and built once.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Environment:
  IMAGE_SWAP_CACHE    where what was got and built is kept, instead of
                      $XDG_CACHE_HOME/image-swap or ~/.cache/image-swap
  KUBEBUILDER_ASSETS  a directory with the programs of Kubernetes and etcd; it
                      wins over PATH, and PATH over getting and building
  IMAGE_SWAP_KEEP     set to anything: keep the files of what was stopped")]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Start it and leave it running; print its kubeconfig
    Up,
    /// Stop it and remove its files
    Down,
    /// Show what runs
    Status,
    /// Only find, get and build the parts; print where they are
    Parts,
    /// Hold the cluster: what `up` starts
    #[command(hide = true)]
    Hold,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode> {
        match self.verb {
            Verb::Up => up(),
            Verb::Down => down(),
            Verb::Status => status(),
            Verb::Parts => parts().map(drop),
            Verb::Hold => hold(),
        }
        .map(|()| ExitCode::SUCCESS)
    }
}

/// Where a held cluster is found.
struct Place {
    socket: PathBuf,
    kubeconfig: PathBuf,
    log: PathBuf,
    lock: PathBuf,
}

impl Place {
    fn find() -> Result<Self> {
        let dir = Cache::open()?.path().join("cluster");
        fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
        let path = |name| dir.join(name);
        Ok(Self {
            socket: path("socket"),
            kubeconfig: path("kubeconfig"),
            log: path("log"),
            lock: path("lock"),
        })
    }

    /// Asks the holder; nothing if there is none.
    fn ask(&self, question: &str) -> Result<Option<String>> {
        let Ok(mut stream) = UnixStream::connect(&self.socket) else { return Ok(None) };
        writeln!(stream, "{question}")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).context("the cluster's holder went away")?;
        Ok(Some(answer))
    }
}

fn up() -> Result<()> {
    let place = Place::find()?;
    if let Some(running) = place.ask("status")? {
        return say(&running);
    }
    parts()?;
    File::create(&place.log).with_context(|| format!("write {}", place.log.display()))?;
    let log = || File::options().append(true).open(&place.log);
    // A session of its own: it outlives this terminal.
    let mut holder = Command::new("setsid")
        .arg(env::current_exe()?)
        .args(["cluster", "hold"])
        .stdin(Stdio::null())
        .stdout(log()?)
        .stderr(log()?)
        .spawn()
        .context("start setsid (Debian package util-linux)")?;
    let running = follow(&place, &mut holder)?;
    say(&running)
}

/// Repeats what the holder logs until it answers, or has ended.
fn follow(place: &Place, holder: &mut Child) -> Result<String> {
    let mut log = File::open(&place.log)?;
    let started = until("the cluster", DEADLINE, || {
        let ended = holder.try_wait();
        let answer = place.ask("status");
        // Whatever was logged before the answer is shown before it.
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
    match Place::find()?.ask("down")? {
        Some(answer) => say(&answer),
        None => say("no cluster is up\n"),
    }
}

fn status() -> Result<()> {
    match Place::find()?.ask("status")? {
        Some(answer) => say(&answer),
        None => bail!("no cluster is up; `cargo xtask cluster up` starts one"),
    }
}

/// All parts, or the reason why one is not to be had.
fn parts() -> Result<Parts> {
    let progress = |step: &str| {
        // A closed terminal is no reason to stop a build.
        let _ = writeln!(io::stderr(), "{step}");
    };
    let setup = Setup { progress: &progress, install: false, kubernetes: vec![Minor::DEFAULT] };
    let parts = Parts::obtain(&setup)?;
    let mut missing = false;
    for part in parts.list() {
        match part {
            Ok((name, path)) => say(&format!("{name:<24}{}\n", path.display()))?,
            Err(error) => {
                missing = true;
                say(&format!("{error}\n"))?;
            }
        }
    }
    if missing {
        bail!("parts are missing, see above");
    }
    Ok(parts)
}

fn hold() -> Result<()> {
    let place = Place::find()?;
    let lock = File::create(&place.lock)?;
    if lock.try_lock().is_err() {
        bail!("a cluster is being started or stopped already");
    }
    let start = Instant::now();
    let cluster = Cluster::start(&Parts::present()?, &|step| {
        let _ = writeln!(io::stderr(), "{step}");
    })?;
    fs::copy(cluster.kubeconfig(), &place.kubeconfig)?;
    let started = start.elapsed();
    match fs::remove_file(&place.socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let listener = UnixListener::bind(&place.socket)?;
    let mut asker = loop {
        let (stream, _) = listener.accept()?;
        let mut question = String::new();
        BufReader::new(&stream).read_line(&mut question)?;
        if question == "down\n" {
            break stream;
        }
        // Who asks and does not listen misses only the answer.
        let _ = describe(&stream, &cluster, &place, started);
    };
    drop(cluster);
    fs::remove_file(&place.socket)?;
    fs::remove_file(&place.kubeconfig)?;
    writeln!(asker, "the cluster is down")?;
    Ok(())
}

/// What runs, for people and for the shell's `eval`.
fn describe(
    mut out: impl Write,
    cluster: &Cluster,
    place: &Place,
    started: Duration,
) -> io::Result<()> {
    let Cluster { node, control_plane, registry } = cluster;
    writeln!(out, "ready after {:.1} s", started.as_secs_f64())?;
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
    writeln!(out, "export KUBECONFIG={}", place.kubeconfig.display())
}

fn say(text: &str) -> Result<()> {
    io::stdout().write_all(text.as_bytes()).context("write the answer")
}
