//! Restarts that an agent ordered: their process outlives the pod that starts it.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::process::ExitStatusExt as _,
    process::{Child, Command, Stdio},
};

use image_swap_core::{
    control::effective::{Effective, Origin, SecretData},
    mirror::Fallback,
    status::{NodeRevision, RestartOrder, RestartOutcome, RestartResult},
};
use image_swap_lab::{HostOptions, MIRROR, Trust};
use image_swap_node::{Host, RestartDirectory, Root};
use image_swap_testbed::{Wait, until};

use crate::{
    Outcome,
    containerd_host::{ContainerdHost, DEADLINE, PROGRAM, Ran, Tree, run},
    files::WITHOUT_PATH,
};

const CONFIG: &str = "/etc/containerd/config.toml";
const PROGRAM_COPY: &str = "/var/lib/image-swap/restart/image-swap";
/// The file that the restart command creates.
const BEGUN: &str = "/run/containerd/begun";
/// The pipe that the restart command reads.
const GO: &str = "/run/containerd/go";
/// The arguments of `systemd-run`.
const RECORD: &str = "/run/containerd/systemd-run.log";

/// Shell script of a pod: `/` of the host at a mount point, and cgroups of its own in each
/// hierarchy. `$1` is their name, and `$2` is `systemd` if the host runs it.
const POD: &str = r#"
set -e
name=$1; init=$2; shift 2
pod=/run/containerd/$name
mkdir -p $pod
mount --rbind / $pod
mkdir -p $pod/run/systemd
mount -t tmpfs none $pod/run/systemd
if [ $init = systemd ]; then mkdir $pod/run/systemd/system; fi
for root in /sys/fs/cgroup /sys/fs/cgroup/*; do
    [ -f $root/cgroup.procs ] && mountpoint -q $root || continue
    mkdir -p $root/$name
    for file in cpuset.cpus cpuset.mems; do
        if [ -f $root/tasks ] && [ -f $root/$file ]; then cat $root/$file > $root/$name/$file; fi
    done
    echo 0 > $root/$name/cgroup.procs
done
export PATH=/run/containerd/bin:$PATH
exec "$@" --root=$pod
"#;

/// Shell script that kills every process in the cgroups `$1`, as a container runtime does.
const KILL: &str = r"
for procs in /sys/fs/cgroup/$1/cgroup.procs /sys/fs/cgroup/*/$1/cgroup.procs; do
    [ -f $procs ] || continue
    for pid in $(grep -vx 0 $procs); do kill -KILL $pid 2>/dev/null || :; done
done
";

/// The program `systemd-run` of a host. It records its arguments, and starts the unit.
const SYSTEMD_RUN: &str = r#"#!/bin/sh
for word in "$@"; do echo "$word" >> /run/containerd/systemd-run.log; done
while [ "$1" != -- ]; do shift; done
shift
setsid "$@" > /run/containerd/unit.log 2>&1 < /dev/null &
"#;

/// A host without `config_path`, on which an agent has ordered the declaration 7.
struct OrderedRestart {
    // Drops first: processes in the cgroups end with the host.
    stage: ContainerdHost,
    before: Tree,
    groups: PodCgroups,
}

/// The cgroups of pods and host processes, which are removed at the end.
struct PodCgroups {
    prefix: String,
}

/// Shell script that removes the cgroups of pods with the prefix `$1`, once their processes have
/// ended, and those of host processes.
const REMOVE: &str = r#"
for _ in $(seq 50); do
    find /sys/fs/cgroup -depth -type d -name "$1*" -exec rmdir {} +
    [ -z "$(find /sys/fs/cgroup -type d -name "$1*")" ] && break
    sleep 0.1
done
find /sys/fs/cgroup -depth -type d -name image-swap-restart -exec rmdir {} +
"#;

impl Drop for PodCgroups {
    fn drop(&mut self) {
        // Groups of host processes in other tests stay.
        let _ = Command::new("sh").args(["-c", REMOVE, "sh", &self.prefix]).output();
    }
}

impl OrderedRestart {
    fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let options = HostOptions { trust: Trust::Private, ..HostOptions::default() };
        let stage = ContainerdHost::with("2.4", &options)?;
        stage.config(WITHOUT_PATH);
        stage.start();
        let before = stage.tree();
        let prefix = format!("image-swap-pod-{}", std::process::id());
        let this = Self { stage, before, groups: PodCgroups { prefix } };
        let order = RestartOrder::new(&this.revision(), "containerd");
        let host = this.host();
        RestartDirectory::new(&host).write_order(&order)?;
        Ok(this)
    }

    /// Returns the declaration of Palette's documentation for the mirror.
    fn revision(&self) -> NodeRevision {
        let text = include_str!("../../../../tests/testkit/palette/registry-secret.yaml");
        let pairs = text.lines().filter_map(|line| line.trim().split_once(": "));
        let pairs =
            pairs.filter(|(key, _)| key.chars().all(|c| c.is_ascii_uppercase() || c == '_'));
        let pair = |(key, value): (&str, &str)| {
            let value = value.trim_matches('"').as_bytes().to_vec();
            (key.to_owned(), value)
        };
        let mut secret = SecretData { kind: "Opaque".into(), data: pairs.map(pair).collect() };
        let authority = self.stage.host.private_authority().as_bytes().to_vec();
        secret.data.insert("CA_CERT".into(), authority);
        let effective = Effective { origin: Origin::RegistryInfo, secret };
        NodeRevision { number: 7, effective, fallback: Fallback::Upstream }
    }

    fn host(&self) -> Host {
        Host::new(Root::new(&self.stage.host.root()).unwrap())
    }

    fn result(&self) -> Option<RestartResult> {
        let host = self.host();
        RestartDirectory::new(&host).result(7).unwrap()
    }

    fn cgroups(&self, pod: &str) -> String {
        format!("{}-{pod}", self.groups.prefix)
    }

    /// Returns the command of a pod that restarts by `restart`.
    fn pod(&self, pod: &str, init: &str, restart: &str) -> Command {
        let mut command = self.stage.host.inside("unshare");
        command.args(["--mount", "sh", "-c", POD, "pod", &self.cgroups(pod), init, PROGRAM]);
        command.args(["node", "restart-pod", "--number=7"]);
        command.arg(format!("--restart-command={restart}"));
        command
    }

    /// Starts a pod whose restart command waits for [`GO`].
    fn waiting(&self) -> std::io::Result<Child> {
        assert!(self.stage.host.inside("mkfifo").arg(GO).status()?.success());
        let restart = self.stage.restart_command();
        let restart = format!("touch {BEGUN}; read -r word < {GO}; {restart}");
        let pod = self.pod("one", "none", &restart).stdout(Stdio::null()).spawn()?;
        until("the restart", DEADLINE, || {
            let begun = self.stage.at(BEGUN).exists();
            begun.then_some(()).ok_or_else(|| Wait::NotYet("not begun".into()))
        })
        .unwrap();
        Ok(pod)
    }

    /// Runs a shell script on the host, and returns its output.
    fn inside(&self, script: &str, argument: &str) -> Ran {
        let mut shell = self.stage.host.inside("sh");
        shell.args(["-c", script, "sh", argument]);
        run(shell)
    }
}

#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn detached_restart_outlives_its_pod() -> Outcome {
    let ordered = OrderedRestart::new()?;
    let stage = &ordered.stage;
    let mut first = ordered.waiting()?;
    assert_ne!(stage.read(CONFIG).unwrap(), WITHOUT_PATH);
    let cgroups = "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline | \
                   grep -q '[n]ode restart-host' && cat $p/cgroup; done; true";
    let ran = ordered.inside(cgroups, "");
    assert!(!ran.stdout.is_empty() && !ran.stdout.contains("image-swap-pod"), "{ran:?}");
    assert!(ran.stdout.contains(":/image-swap-restart\n"), "{ran:?}");

    // A second pod starts nothing.
    let mut second = ordered.pod("two", "none", "false");
    second.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut second = second.spawn()?;
    let mut line = String::new();
    BufReader::new(second.stderr.take().unwrap()).read_line(&mut line)?;
    assert!(line.contains("waiting for its result"), "{line}");

    let ran = ordered.inside(KILL, &ordered.cgroups("one"));
    assert_eq!(ran.code, 0, "{ran:?}");
    let status = first.wait()?;
    assert!(status.signal() == Some(9) || status.code() == Some(137), "{status}");
    assert_eq!(ordered.result(), None);

    fs::write(stage.at(GO), "word\n")?;
    let output = second.wait_with_output()?;
    let stdout = String::from_utf8(output.stdout)?;
    assert_eq!(output.status.code(), Some(0), "{stdout}");
    assert!(stdout.starts_with("declaration 7 applied: the runtime answers again"), "{stdout}");
    assert_eq!(ordered.result().unwrap().outcome, RestartOutcome::Applied);
    assert!(stage.read("/var/lib/image-swap/restart/restart.log").unwrap().contains("restarting"));
    assert_eq!(stage.pull("quay.io/team/app")?, MIRROR);

    // The host is in place.
    let ran = run(ordered.pod("three", "none", "false"));
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("nothing to change"), "{ran:?}");
    assert!(!stage.at(PROGRAM_COPY).exists());
    stage.restores(&ordered.before);
    Ok(())
}

#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn failed_restart_of_a_pod_is_rolled_back() -> Outcome {
    let ordered = OrderedRestart::new()?;
    let stage = &ordered.stage;
    let ran = run(ordered.pod("one", "none", "echo no; exit 3"));
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("error: declaration 7 rolled back: "), "{ran:?}");
    assert!(ran.stderr.contains("exit status: 3 no"), "{ran:?}");
    assert_eq!(stage.read(CONFIG).unwrap(), WITHOUT_PATH);
    assert_eq!(ordered.result().unwrap().outcome, RestartOutcome::RolledBack);

    // The next attempt replaces the result.
    let ran = run(ordered.pod("two", "none", &stage.restart_command()));
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ordered.result().unwrap().outcome, RestartOutcome::Applied);
    assert_eq!(stage.pull("quay.io/team/app")?, MIRROR);
    stage.restores(&ordered.before);
    Ok(())
}

#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn next_pod_rolls_back_a_killed_restart_first() -> Outcome {
    let ordered = OrderedRestart::new()?;
    let stage = &ordered.stage;
    let kill = |verb: &str| {
        format!(
            "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline | grep -q '[n]ode {verb}' && \
             kill -KILL ${{p#/proc/}}; done; true"
        )
    };
    let mut first = ordered.waiting()?;
    for verb in ["guard", "restart-host"] {
        assert_eq!(ordered.inside(&kill(verb), "").code, 0);
    }
    // The pod notices that its process has ended.
    assert_eq!(first.wait()?.code(), Some(1));
    assert_eq!(ordered.result(), None);
    assert_ne!(stage.read(CONFIG).unwrap(), WITHOUT_PATH);
    assert!(stage.node("status", &[]).stdout.contains("interrupted"));

    let ran = run(ordered.pod("two", "none", &stage.restart_command()));
    assert_eq!(ran.code, 0, "{ran:?}");
    let log = stage.read("/var/lib/image-swap/restart/restart.log").unwrap();
    assert!(log.contains("rolling back a change that was killed"), "{log}");
    assert_eq!(stage.pull("quay.io/team/app")?, MIRROR);
    stage.restores(&ordered.before);
    Ok(())
}

#[test]
#[ignore = "needs container runtimes: cargo xtask test"]
fn systemd_starts_the_restart_of_a_pod() -> Outcome {
    use std::os::unix::fs::PermissionsExt as _;
    let ordered = OrderedRestart::new()?;
    let stage = &ordered.stage;
    let script = stage.host.write("/run/containerd/bin/systemd-run", SYSTEMD_RUN)?;
    fs::set_permissions(script, fs::Permissions::from_mode(0o755))?;
    let restart = stage.restart_command();
    let ran = run(ordered.pod("one", "systemd", &restart));
    assert_eq!(ran.code, 0, "{ran:?} {:?}", stage.read("/run/containerd/unit.log"));
    let restart = format!("--restart-command={restart}");
    let words = [
        "--unit=image-swap-restart",
        "--collect",
        "--",
        PROGRAM_COPY,
        "node",
        "restart-host",
        "--number=7",
        &restart,
    ];
    assert_eq!(stage.read(RECORD).unwrap().lines().collect::<Vec<_>>(), words);
    assert_eq!(ordered.result().unwrap().outcome, RestartOutcome::Applied);
    assert_eq!(stage.pull("quay.io/team/app")?, MIRROR);

    // A host that cannot start a unit is as before.
    stage.restores(&ordered.before);
    let order = RestartOrder::new(&ordered.revision(), "containerd");
    let host = ordered.host();
    RestartDirectory::new(&host).write_order(&order)?;
    stage.host.write("/run/containerd/bin/systemd-run", "#!/bin/sh\necho no bus >&2\nexit 1\n")?;
    let ran = run(ordered.pod("two", "systemd", "false"));
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("systemd-run failed (exit status: 1): no bus"), "{ran:?}");
    assert_eq!(stage.read(CONFIG).unwrap(), WITHOUT_PATH);
    Ok(())
}
