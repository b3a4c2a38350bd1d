//! `restart: rolling`: hosts that need a restart of containerd, one at a time, by a pod that
//! starts the change outside of itself.
//!
//! No node has systemd. Each has a script that restarts its containerd, which a test may change.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, ensure};
use image_swap_e2e::{DEADLINE, HelmCluster, Install, NodeFiles, PALETTE_VALUES, condition};
use image_swap_testbed::{HelmWait, Node, Wait, until};
use serde_json::{Value, json};

use super::{FIRST, OLD, pull, start};
use crate::{NGINX, assert_air_gap, workloads::items};

/// Values with short checks of the host, and with restarts.
const VALUES: &str = "agent: {fallback: never, resync: 10s, restart: rolling, \
                      restartCommand: 'sh /etc/containerd/restart.sh', \
                      trialImage: 'docker.io/library/nginx:1.25'}";
/// The namespace of restart pods, and of the Leases of nodes that are restarted.
const RESTARTS: &str = "image-swap-restart";
/// The line of the testbed's config.toml that names the directory of the mirrors.
const SET: &str = "    config_path = \"/etc/containerd/certs.d\"\n";
/// A file that config.toml of a host imports.
const DROP_IN: &str = "conf.d/50-other.toml";
/// The text in the remedy for a rollout that has stopped.
const RESUME: &str = "image-swap.io/restart=resume";

/// A host whose containerd does not read the mirrors.
struct BareHost<'c> {
    node: &'c Node,
    config: String,
}

impl<'c> BareHost<'c> {
    /// Makes `node` such a host, with a script that restarts its containerd.
    fn make(node: &'c Node) -> Result<Self> {
        let text = fs::read_to_string(node.etc_containerd().join("config.toml"))?;
        ensure!(text.contains(SET), "expected {SET:?}: {text}");
        let imports = "imports = [\"/etc/containerd/conf.d/*.toml\"]\nroot = ";
        let config = text.replace(SET, "").replacen("root = ", imports, 1);
        let host = Self { node, config };
        fs::create_dir_all(host.path("conf.d"))?;
        host.script(Node::RESTART)?;
        host.reset()?;
        Ok(host)
    }

    /// Replaces the script that restarts containerd.
    fn script(&self, script: &str) -> Result<()> {
        Ok(fs::write(self.path("restart.sh"), script)?)
    }

    /// Writes config.toml as it was without image-swap, and restarts containerd.
    fn reset(&self) -> Result<()> {
        fs::write(self.path("config.toml"), &self.config)?;
        Ok(self.node.restart_containerd()?)
    }

    /// Makes containerd not start as long as config.toml has the change: another file, which
    /// config.toml imports, is then invalid.
    fn break_start(&self) -> Result<()> {
        let script = format!(
            "if grep -q config_path /etc/containerd/config.toml; then
                 echo 'version = ' > /etc/containerd/{DROP_IN}
             else
                 rm -f /etc/containerd/{DROP_IN}
             fi
             {}",
            Node::RESTART
        );
        self.script(&script)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.node.etc_containerd().join(name)
    }

    /// Returns a file of a restart's order.
    fn ordered(&self, name: &str) -> PathBuf {
        self.node.state().join("restart").join(name)
    }

    /// Returns the time of the last result; `None` without one.
    fn result_time(&self) -> Option<SystemTime> {
        fs::metadata(self.ordered("result.json")).ok()?.modified().ok()
    }

    /// Returns true if config.toml has the change.
    fn is_changed(&self) -> Result<bool> {
        Ok(fs::read_to_string(self.path("config.toml"))?.contains(SET.trim()))
    }

    /// Checks that containerd's configuration is as it was without image-swap.
    fn ensure_untouched(&self) -> Result<()> {
        let config = fs::read_to_string(self.path("config.toml"))?;
        let name = self.node.name();
        let result = fs::read_to_string(self.ordered("result.json")).unwrap_or_default();
        ensure!(config == self.config, "{name}: {result}: {config}");
        let mirrors = NodeFiles::of(self.node)?.mirrors();
        ensure!(mirrors == NodeFiles::default(), "{name}: {mirrors:?}");
        Ok(())
    }

    /// Returns the process of containerd, as the node numbers it.
    fn containerd(&self) -> Result<String> {
        let output = self.node.inside("cat").arg("/run/containerd/containerd.pid").output()?;
        Ok(String::from_utf8(output.stdout)?)
    }
}

#[test]
#[ignore = "needs two nodes: cargo xtask test"]
fn nodes_without_config_path_are_restarted_one_at_a_time() -> Result<()> {
    let cluster = start(&[OLD], None)?;
    let hosts = cluster.nodes().map(BareHost::make).collect::<Result<Vec<_>>>()?;
    let before = hosts.iter().map(BareHost::containerd).collect::<Result<Vec<_>>>()?;
    install(&cluster)?;

    cluster.step("every node is restarted, one at a time");
    let mut restarted: Vec<String> = Vec::new();
    until("the declaration on every node", DEADLINE, || {
        let leases = leases(&cluster)?;
        restarted.extend(leases.iter().map(|lease| holder(lease).to_owned()));
        restarted.dedup();
        if leases.len() > 1 {
            return Ok(Err(format!("{leases:?}")));
        }
        for node in cluster.nodes() {
            let report = cluster.node_report(node)?;
            if condition(&report, "Applied")["status"] != "True" {
                return Err(Wait::NotYet(report.to_string()));
            }
        }
        if leases.is_empty() { Ok(Ok(())) } else { Err(Wait::NotYet(format!("{leases:?}"))) }
    })?
    .map_err(|found| anyhow::anyhow!("expected one restart at a time: {found}"))?;
    restarted.sort();
    let mut names: Vec<&str> = cluster.nodes().map(Node::name).collect();
    names.sort_unstable();
    ensure!(restarted == names, "{restarted:?}");
    cluster.wait_in_force(0)?;

    for (host, before) in hosts.iter().zip(&before) {
        ensure!(host.is_changed()?, "{} has config_path", host.node.name());
        ensure!(host.containerd()? != *before, "{} was restarted", host.node.name());
        ensure_ready(&cluster, host.node)?;
        for file in ["order.json", "image-swap"] {
            ensure!(!host.ordered(file).exists(), "{}: {file} is left", host.node.name());
        }
    }
    pull(&cluster, FIRST)?;
    cluster.wait_swapped("nginx:1.25", NGINX)?;
    let pods = items(&cluster, &format!("/api/v1/namespaces/{RESTARTS}/pods"))?;
    ensure!(pods.is_empty(), "{pods:?}");
    assert_air_gap(&cluster);
    Ok(())
}

/// Two nodes with one version of containerd have the same fault. The controller chooses the node
/// that is restarted before the other one.
#[test]
#[ignore = "needs two nodes: cargo xtask test"]
fn failed_restart_stops_rollout() -> Result<()> {
    let cluster = start(&[OLD, OLD], None)?;
    // A host without a fault, which may be restarted before the others.
    BareHost::make(&cluster.node)?;
    let hosts = cluster.others.iter().map(BareHost::make).collect::<Result<Vec<_>>>()?;
    let hosts: [_; 2] = hosts.try_into().map_err(|_| anyhow::anyhow!("expected two hosts"))?;
    let before = [hosts[0].containerd()?, hosts[1].containerd()?];
    for host in &hosts {
        host.script("echo 'this host is not to be restarted' >&2\nexit 1\n")?;
    }

    cluster.step("the command fails on one node");
    install(&cluster)?;
    let failed = wait_failed(&cluster, &hosts, [None; 2])?;
    let is_failed = |status: &Value| condition(status, "Applied")["reason"] == "RestartFailed";
    let report = cluster.wait_report(hosts[failed].node, "RestartFailed", is_failed)?;
    let message = condition(&report, "Applied")["message"].to_string();
    ensure!(message.contains("not to be restarted"), "{message}");
    hosts[failed].ensure_untouched()?;
    ensure!(hosts[failed].containerd()? == before[failed], "nothing was restarted");
    ensure_stopped(&cluster, &hosts[failed], &hosts[1 - failed])?;

    cluster.step("containerd of both does not start with the new file");
    for host in &hosts {
        host.break_start()?;
    }
    let earlier = [hosts[0].result_time(), hosts[1].result_time()];
    resume(&cluster)?;
    let failed = wait_failed(&cluster, &hosts, earlier)?;
    let (second, third) = (&hosts[failed], &hosts[1 - failed]);
    cluster.wait_report(second.node, "RestartFailed", is_failed)?;
    second.ensure_untouched()?;
    ensure!(second.containerd()? != before[failed], "containerd was restarted");
    ensure!(!second.path(DROP_IN).exists(), "the script ran for the former file");
    ensure_stopped(&cluster, second, third)?;
    ensure!(third.containerd()? == before[1 - failed], "the third node was not restarted");

    cluster.step("the administrator mends both hosts and resumes");
    for host in &hosts {
        host.script(Node::RESTART)?;
    }
    resume(&cluster)?;
    cluster.wait_in_force(0)?;
    pull(&cluster, FIRST)?;
    wait_no_leases(&cluster)?;
    ensure!(!status(&cluster)?.contains(RESUME), "nothing is left to resume");
    assert_air_gap(&cluster);
    Ok(())
}

#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn host_is_put_back_although_its_pod_is_killed() -> Result<()> {
    let mut cluster = start(&[], None)?;
    let (config, before) = {
        let host = BareHost::make(&cluster.node)?;
        host.break_start()?;
        (host.config.clone(), host.containerd()?)
    };
    install(&cluster)?;
    for victims in [&[Victim::Pod][..], &[Victim::Pod, Victim::Agent, Victim::Kubelet]] {
        cluster.step(&format!("containerd does not start, and {victims:?} are killed"));
        let host = BareHost { node: &cluster.node, config: config.clone() };
        let earlier = host.result_time();
        if earlier.is_some() {
            resume(&cluster)?;
        }
        wait_step(&host, Step::Edited)?;
        for victim in victims {
            victim.kill(&mut cluster.node)?;
        }
        let host = BareHost { node: &cluster.node, config: config.clone() };
        // Neither kubelet nor pod is there to help.
        wait_result(&host, earlier)?;
        host.ensure_untouched()?;
        ensure!(host.containerd()? != before, "containerd was restarted");
        let HelmCluster { node, control_plane, .. } = &mut cluster;
        node.wait_ready(control_plane)?;
        cluster.wait_reason(&cluster.node, "Applied", "RestartFailed")?;
    }

    cluster.step("the administrator mends the host and resumes");
    let host = BareHost { node: &cluster.node, config };
    host.script(Node::RESTART)?;
    resume(&cluster)?;
    cluster.wait_in_force(0)?;
    pull(&cluster, FIRST)?;
    assert_air_gap(&cluster);
    Ok(())
}

#[test]
#[ignore = "needs two nodes: cargo xtask test"]
fn restart_survives_kills_at_each_step() -> Result<()> {
    let mut cluster = start(&[OLD], None)?;
    let configs = cluster.nodes().map(|node| Ok(BareHost::make(node)?.config));
    let configs = configs.collect::<Result<Vec<_>>>()?;
    install(&cluster)?;
    cluster.wait_in_force(0)?;
    // Each step, and each victim at an early step and at a late one.
    let kills = Step::ALL.into_iter().zip(Victim::ALL.into_iter().cycle());
    for (round, (step, victim)) in kills.enumerate() {
        let is_first = round % 2 == 0;
        let config = configs[usize::from(!is_first)].clone();
        let node = if is_first { &cluster.node } else { &cluster.others[0] };
        cluster.step(&format!("{}: {victim:?} is killed at {step:?}", node.name()));
        let host = BareHost { node, config: config.clone() };
        // A leftover would look like a step.
        let _ = fs::remove_file(host.ordered("result.json"));
        // An administrator undoes the change, and the agent finds that out.
        host.reset()?;
        wait_step(&host, step)?;
        let HelmCluster { node, others, control_plane, .. } = &mut cluster;
        let node = if is_first { node } else { &mut others[0] };
        victim.kill(node)?;
        if matches!(victim, Victim::Kubelet) {
            // The host process needs no kubelet, and a kubelet without containerd ends again.
            wait_step(&BareHost { node, config: config.clone() }, Step::Ended)?;
        }
        // A service manager starts the kubelet again.
        node.wait_ready(control_plane)?;
        let node = if is_first { &cluster.node } else { &cluster.others[0] };
        wait_restarted(&cluster, &BareHost { node, config })?;
        pull(&cluster, FIRST)?;
    }
    assert_air_gap(&cluster);
    Ok(())
}

/// A step of a restart, which the host shows.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The agent has written its order.
    Ordered,
    /// The restart pod runs.
    Started,
    /// The host process runs.
    Handed,
    /// The watchdog is about to run.
    Armed,
    /// The new config.toml is in place.
    Edited,
    /// The host process has written its result.
    Ended,
}

/// A part that is killed during a restart.
#[derive(Clone, Copy, Debug)]
enum Victim {
    Agent,
    Pod,
    Kubelet,
}

impl Step {
    const ALL: [Self; 6] =
        [Self::Ordered, Self::Started, Self::Handed, Self::Armed, Self::Edited, Self::Ended];

    fn is_reached(self, host: &BareHost<'_>) -> Result<bool> {
        Ok(match self {
            Self::Ordered => host.ordered("order.json").exists(),
            Self::Started => !processes(host.node, &["node", "restart-pod"])?.is_empty(),
            Self::Handed => !processes(host.node, &["node", "restart-host"])?.is_empty(),
            Self::Armed => host.node.state().join("node/armed.json").exists(),
            Self::Edited => host.is_changed()?,
            Self::Ended => host.ordered("result.json").exists(),
        })
    }
}

impl Victim {
    const ALL: [Self; 3] = [Self::Agent, Self::Pod, Self::Kubelet];

    /// Kills the part on `node` with SIGKILL. It may have ended already.
    fn kill(self, node: &mut Node) -> Result<()> {
        let killed = match self {
            Self::Agent => processes(node, &["agent"])?,
            Self::Pod => processes(node, &["node", "restart-pod"])?,
            Self::Kubelet => return Ok(node.kubelet().kill()?),
        };
        for pid in killed {
            Command::new("kill").args(["-s", "KILL", &pid.to_string()]).status()?;
        }
        Ok(())
    }
}

/// Returns the processes of the program on `node` that were started with `words`, as the machine
/// numbers them. Nodes of other tests may have such processes, too.
fn processes(node: &Node, words: &[&str]) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse() else { continue };
        // A process may have ended.
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        let mut all = line.split('\0');
        let is_program = all.next().is_some_and(|program| program.ends_with("/image-swap"));
        let is_wanted = is_program && words.iter().all(|word| all.next() == Some(word));
        if is_wanted && node.has_process(pid) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// Waits, without a pause, until a restart of the host has reached `step`.
fn wait_step(host: &BareHost<'_>, step: Step) -> Result<()> {
    let start = Instant::now();
    while !step.is_reached(host)? {
        ensure!(start.elapsed() < DEADLINE, "{step:?} on {}", host.node.name());
        // Steps last longer.
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Waits until one of `hosts` has another result than those of the times `earlier`; returns its
/// index.
fn wait_failed(
    cluster: &HelmCluster,
    hosts: &[BareHost<'_>; 2],
    earlier: [Option<SystemTime>; 2],
) -> Result<usize> {
    let failed = until("the result of a restart", DEADLINE, || {
        let found = [hosts[0].result_time(), hosts[1].result_time()];
        let changed = (0..2).find(|&it| found[it].is_some() && found[it] != earlier[it]);
        changed.ok_or_else(|| Wait::NotYet(status(cluster).unwrap_or_default()))
    })?;
    Ok(failed)
}

/// Waits for another result of a restart than that of the time `earlier`.
fn wait_result(host: &BareHost<'_>, earlier: Option<SystemTime>) -> Result<()> {
    until(&format!("a result on {}", host.node.name()), DEADLINE, || match host.result_time() {
        Some(time) if Some(time) != earlier => Ok(()),
        found => Err(Wait::NotYet(format!("{found:?}"))),
    })?;
    Ok(())
}

/// Waits until the host has the declaration in force and nothing of a restart is left. If the
/// rollout stops, an administrator resumes it.
fn wait_restarted(cluster: &HelmCluster, host: &BareHost<'_>) -> Result<()> {
    let node = host.node;
    until(&format!("{} to be restarted", node.name()), DEADLINE * 2, || {
        let report = cluster.node_report(node)?;
        let leases = leases(cluster)?;
        let is_changed = host.is_changed().unwrap_or_default();
        let is_applied = condition(&report, "Applied")["status"] == "True";
        if is_changed && is_applied && leases.is_empty() {
            return Ok(());
        }
        if status(cluster).is_ok_and(|printed| printed.contains(RESUME)) {
            cluster.step("the rollout has stopped: an administrator resumes it");
            // The Lease may have ended.
            let _ = resume(cluster);
        }
        Err(Wait::NotYet(format!("{report}; {leases:?}")))
    })?;
    ensure_ready(cluster, node)?;
    let config = fs::read_to_string(host.path("config.toml"))?;
    let without: String = config
        .split_inclusive('\n')
        .filter(|line| !line.contains("config_path") && !line.contains("image-swap keeps"))
        .collect();
    ensure!(without == host.config, "{config}");
    Ok(())
}

/// Installs Palette's release with the registry's authority and with restarts.
fn install(cluster: &HelmCluster) -> Result<()> {
    let authority = cluster.registry.authority().context("expected a private authority")?;
    let trust = format!("config: {{ociImageRegistry: {{caCert: {}}}}}", json!(authority));
    cluster.upgrade(&Install::with(&[PALETTE_VALUES, VALUES, &trust]), HelmWait::Hooks)?;
    Ok(())
}

/// Returns the Leases of nodes that are restarted.
fn leases(cluster: &HelmCluster) -> Result<Vec<Value>, Wait> {
    Ok(items(cluster, &format!("/apis/coordination.k8s.io/v1/namespaces/{RESTARTS}/leases"))?)
}

fn holder(lease: &Value) -> &str {
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default()
}

fn wait_no_leases(cluster: &HelmCluster) -> Result<()> {
    until("the end of every Lease", DEADLINE, || {
        let leases = leases(cluster)?;
        if leases.is_empty() { Ok(()) } else { Err(Wait::NotYet(format!("{leases:?}"))) }
    })?;
    Ok(())
}

/// Resumes the rollout, as `image-swap status` describes it.
fn resume(cluster: &HelmCluster) -> Result<()> {
    let annotate = ["annotate", "leases", "--all", "--namespace", RESTARTS, RESUME, "--overwrite"];
    cluster.kubectl(&annotate).map(drop)
}

/// Returns what `image-swap status` prints. The exit code is 1 if there is a problem.
fn status(cluster: &HelmCluster) -> Result<String> {
    cluster.shell("image-swap status --namespace=default || true")
}

/// Checks that the failed restart of `second` has stopped the rollout, and that `third` is as it
/// was.
fn ensure_stopped(
    cluster: &HelmCluster,
    second: &BareHost<'_>,
    third: &BareHost<'_>,
) -> Result<()> {
    until("image-swap status to show the stop", DEADLINE, || {
        let printed = status(cluster).map_err(|error| Wait::NotYet(format!("{error:#}")))?;
        let all = [second.node.name(), RESUME].iter().all(|text| printed.contains(text));
        if all { Ok(()) } else { Err(Wait::NotYet(printed)) }
    })?;
    let leases =
        leases(cluster).map_err(|wait| anyhow::anyhow!("cannot list the Leases: {wait:?}"))?;
    let holders: Vec<&str> = leases.iter().map(holder).collect();
    ensure!(holders == [second.node.name()], "{leases:?}");
    ensure_ready(cluster, second.node)?;
    third.ensure_untouched()
}

/// Checks that a node is `Ready`.
fn ensure_ready(cluster: &HelmCluster, node: &Node) -> Result<()> {
    until(&format!("{} to be Ready", node.name()), DEADLINE, || {
        let stored = cluster.control_plane.get(&format!("/api/v1/nodes/{}", node.name()))?;
        let status = stored.unwrap_or_default()["status"].clone();
        let ready = condition(&status, "Ready");
        if ready["status"] == "True" { Ok(()) } else { Err(Wait::NotYet(ready.to_string())) }
    })?;
    Ok(())
}
