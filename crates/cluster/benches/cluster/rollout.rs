//! The time from a changed declaration to the files of two nodes, and the cost of their agents.
//!
//! The nodes are directories. Controller, agents and API server are the real ones; the benchmark
//! plays the kubelets.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use image_swap_cluster::client;
use image_swap_load::{
    Outcome,
    audit::{AuditLog, Requests},
    process,
    statistics::{median, quantile},
};
use image_swap_testbed::{ControlPlane, Parts, Port, Process, RunDir};
use image_swap_testkit::config_with_path;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use crate::{
    PATIENCE,
    controller::RELEASE,
    options,
    stage::{self, MIRRORS, PlayedRegistry},
};

/// Odd, so that there is a median.
const ROUNDS: usize = 21;
/// The first one by name is the node on trial.
const NODES: [&str; 2] = ["node-a", "node-b"];
const HOSTS: &str = "etc/containerd/certs.d/docker.io/hosts.toml";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// The time between two looks at a file, or at the state of a node.
const LOOK: Duration = Duration::from_millis(1);
/// The time after the last change until agents are idle.
const REST: Duration = Duration::from_secs(10);

/// An agent, with the directory that is its host.
struct Agent {
    node: &'static str,
    root: PathBuf,
    process: Process,
}

/// Measures the rollout, and then the agents while nothing happens for the time `idle`.
pub(crate) async fn measure(parts: &Parts, binary: &Path, idle: Duration) -> Outcome<()> {
    let directory = RunDir::new("bench")?;
    let audit = AuditLog::new(directory.path())?;
    let control_plane = ControlPlane::start(parts, &options(audit.flags()))?;
    stage::install(&control_plane, directory.path())?;
    let client = client(Some(control_plane.kubeconfig())).await?;
    let boot = fs::read_to_string(BOOT_ID)?;
    for node in NODES {
        stage::add_node(&client, node, boot.trim()).await?;
    }
    let registry = PlayedRegistry::start(directory.path()).await?;
    let admin = Port::reserve()?;
    let mut arguments = stage::arguments(&control_plane);
    arguments.push(format!("--admin-listen=127.0.0.1:{}", admin.number()));
    let _controller = process::start(binary, arguments, &admin, directory.path())?;
    let start = |node| Agent::start(node, binary, &control_plane, directory.path(), idle);
    let agents = [start(NODES[0])?, start(NODES[1])?];
    let [on_trial, other] = &agents;

    let (pulled, mut pulls) = watch::channel(None);
    let kubelets = tokio::spawn(stage::kubelets(client.clone(), pulled));
    let rounds = async {
        let mut times = [Vec::new(), Vec::new()];
        // The first round waits for the controller's start, too.
        for number in 0..=ROUNDS {
            let path = format!("round-{number:03}");
            let begun = Instant::now();
            registry.declare(&client, &path).await?;
            let tried = on_trial.has(&path).await?;
            let pulled = *pulls.wait_for(|at| at.is_some_and(|at| at > begun)).await?;
            let pulled = pulled.filter(|at| *at > tried).ok_or("expected a trial on the first")?;
            let followed = other.has(&path).await?;
            if number > 0 {
                times[0].push((tried - begun).as_secs_f64() * 1e3);
                times[1].push((followed - pulled).as_secs_f64() * 1e3);
            }
            settled(&control_plane).await?;
        }
        Outcome::Ok(times)
    };
    let times = tokio::select! {
        done = rounds => done?,
        ended = kubelets => return Err(format!("the played kubelets ended: {ended:?}").into()),
    };
    for (name, times) in ["nodes/to-trial-ms", "nodes/to-others-ms"].into_iter().zip(times) {
        let [least, most] = [0.0, 1.0].map(|share| quantile(times.clone(), share));
        println!("{name} {:.0}", median(times));
        println!("# {ROUNDS} changes: {least:.0} to {most:.0} ms");
    }
    rest(&control_plane, &agents, &audit, idle).await
}

/// Measures the agents while nothing happens for the time `idle`, and their memory until its end.
async fn rest(
    control_plane: &ControlPlane,
    agents: &[Agent],
    audit: &AuditLog,
    idle: Duration,
) -> Outcome<()> {
    sleep(REST).await;
    let (first, stored) = (audit.lines()?, versions(control_plane)?);
    let cpu = || agents.iter().map(|it| process::cpu(&it.process)).collect::<Outcome<Vec<_>>>();
    let (before, begun) = (cpu()?, Instant::now());
    sleep(idle).await;
    let (after, seconds) = (cpu()?, begun.elapsed().as_secs_f64());
    if stored != versions(control_plane)? {
        return Err("expected the same NodeMirrors after the idle time, found others".into());
    }
    let used = after.iter().zip(&before).map(|(after, before)| after - before);
    let most = used.fold(0.0, f64::max);
    println!("agent/idle-cpu-percent {:.4}", most / seconds * 100.0);
    println!("# {:.0} ms of {seconds:.0} s, with two looks at the host", most * 1e3);
    let (mut watches, mut all_writes, mut now, mut peak) = (0, 0, 0.0_f64, 0.0_f64);
    for Agent { node, process, .. } in agents {
        let found = audit.requests(node, first)?;
        let Requests { writes, reads, watches: renewed, renewals } = found;
        let written = writes + renewals;
        println!("# {node}: {written} writes, {reads} reads, {renewed} new watches while idle");
        all_writes += written;
        watches = watches.max(audit.requests(node, 0)?.watches);
        now = now.max(process::memory(process, "VmRSS:")?);
        peak = peak.max(process::memory(process, "VmHWM:")?);
    }
    println!("agent/idle-writes {all_writes}");
    println!("agent/watches {watches}");
    println!("agent/rss-mib {now:.1}");
    println!("agent/peak-rss-mib {peak:.1}");
    Ok(())
}

/// Returns the version of each `NodeMirror`, which every write changes.
fn versions(control_plane: &ControlPlane) -> Outcome<Vec<String>> {
    let mirrors = mirrors(control_plane)?;
    let version = |it: &Value| it["metadata"]["resourceVersion"].to_string();
    Ok(mirrors.iter().map(version).collect())
}

fn mirrors(control_plane: &ControlPlane) -> Outcome<Vec<Value>> {
    let mut list = control_plane.get(MIRRORS)?.ok_or("no NodeMirrors")?;
    Ok(serde_json::from_value(list["items"].take())?)
}

/// Waits until both nodes have reported the same declaration, and it is verified.
async fn settled(control_plane: &ControlPlane) -> Outcome<()> {
    let begun = Instant::now();
    let is_true = |mirror: &Value, kind: &str| {
        let mut conditions = mirror["status"]["conditions"].as_array().into_iter().flatten();
        conditions.any(|it| it["type"] == kind && it["status"] == "True")
    };
    loop {
        let mirrors = mirrors(control_plane)?;
        let numbers = mirrors.iter().map(|it| &it["status"]["appliedRevision"]);
        let is_same = numbers.clone().zip(numbers.skip(1)).all(|(one, next)| one == next);
        let are_true = |it| is_true(it, "Applied") && is_true(it, "Verified");
        if is_same && mirrors.len() == NODES.len() && mirrors.iter().all(are_true) {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("expected one declaration everywhere, found {mirrors:?}").into());
        }
        sleep(LOOK * 50).await;
    }
}

impl Agent {
    /// Starts the agent of `node`, whose host is below `directory`. In the time `idle` it looks at
    /// its host twice, as it does in ten minutes by default.
    fn start(
        node: &'static str,
        binary: &Path,
        control_plane: &ControlPlane,
        directory: &Path,
        idle: Duration,
    ) -> Outcome<Self> {
        let root = directory.join(node);
        // The directories that the chart mounts, apart from that of the ledger.
        for folder in ["etc/containerd/certs.d", "var/lib", "run/systemd/units"] {
            fs::create_dir_all(root.join(folder))?;
        }
        let config = config_with_path("/etc/containerd/certs.d");
        fs::write(root.join("etc/containerd/config.toml"), config)?;
        // The API server knows the agent's requests by this name.
        let kubeconfig = fs::read_to_string(control_plane.kubeconfig())?;
        let mut kubeconfig: Value = serde_json::from_str(&kubeconfig)?;
        kubeconfig["users"][0]["user"]["as"] = node.into();
        kubeconfig["users"][0]["user"]["as-groups"] = json!(["system:masters"]);
        let file = directory.join(format!("{node}.kubeconfig"));
        fs::write(&file, kubeconfig.to_string())?;
        let log = directory.join(format!("{node}.log"));
        let mut process = Process::new("agent", binary, log).arguments([
            "agent".to_owned(),
            format!("--namespace={RELEASE}"),
            format!("--node={node}"),
            "--runtime=containerd".to_owned(),
            format!("--root={}", root.display()),
            format!("--resync={}s", idle.as_secs() / 2),
            format!("--kubeconfig={}", file.display()),
        ]);
        process.start()?;
        Ok(Self { node, root, process })
    }

    /// Waits until the node pulls images of Docker Hub from `path`, and returns the time.
    async fn has(&self, path: &str) -> Outcome<Instant> {
        let begun = Instant::now();
        let file = self.root.join(HOSTS);
        while !fs::read_to_string(&file).is_ok_and(|text| text.contains(path)) {
            if begun.elapsed() > PATIENCE {
                let log = fs::read_to_string(self.process.log())?;
                let node = self.node;
                return Err(format!("expected {path} on {node}, found none in time:\n{log}").into());
            }
            sleep(LOOK).await;
        }
        Ok(Instant::now())
    }
}
