//! The namespaces of a node.

use std::{ffi::OsString, fmt::Write, fs, net::IpAddr, process::Command};

use super::DEADLINE;
use crate::{
    error::Error,
    janitor::RunDir,
    process::{Process, runs},
    run,
    wait::{Wait, until},
};

/// The directory that the node sees as `/etc/containerd`.
pub(super) const ETC_CONTAINERD: &str = "etc-containerd";
/// The directory that the node sees as `/var/lib/image-swap`.
pub(super) const STATE: &str = "var-lib-image-swap";

/// The node's own directories, and their paths inside the node. containerd, kubelet
/// and the CNI library have most of these paths built in. The last four are for agents of
/// nodes, whose pods mount them by these paths.
const OWN: [(&str, &str); 12] = [
    (ETC_CONTAINERD, "/etc/containerd"),
    ("run-containerd", "/run/containerd"),
    ("var-lib-containerd", "/var/lib/containerd"),
    ("var-lib-kubelet", "/var/lib/kubelet"),
    ("var-lib-cni", "/var/lib/cni"),
    ("var-log-pods", "/var/log/pods"),
    ("var-log-containers", "/var/log/containers"),
    ("etc-kubernetes", "/etc/kubernetes"),
    ("etc-containers", "/etc/containers"),
    ("etc-rancher", "/etc/rancher"),
    (STATE, "/var/lib/image-swap"),
    ("run-systemd-units", "/run/systemd/units"),
];

/// The script of the first process in the namespaces.
///
/// It records its pid on the machine, which the old `/proc` still shows. Then it enters a new
/// group in each cgroup hierarchy (v1 has several, v2 one). That group becomes the node's root,
/// below which the kubelet makes a group for each pod.
const FIRST: &str = r#"
set -e
read -r pid rest < /proc/self/stat
echo "$pid" > "$1/pid.new"
mount -t proc proc /proc
for root in /sys/fs/cgroup /sys/fs/cgroup/*; do
    [ -f "$root/cgroup.procs" ] && mountpoint -q "$root" || continue
    for own in "$root/$2" "$root/$2/init"; do
        mkdir "$own"
        # v1: a new group may hold no process until these are set.
        for file in cpuset.cpus cpuset.mems; do
            if [ -f "$root/tasks" ] && [ -f "$root/$file" ]; then cat "$root/$file" > "$own/$file"; fi
        done
    done
    echo 0 > "$root/$2/cgroup.procs"
done
exec unshare --cgroup sh -c "$SECOND" node "$@"
"#;

/// The second script of the first process. It prepares the mounts, and then only reaps. A
/// mount point that the machine lacks remains as an empty directory.
const SECOND: &str = r#"
set -e
dir=$1; cgroup=$2; shift 2
for root in /sys/fs/cgroup /sys/fs/cgroup/*; do
    [ -d "$root/$cgroup" ] || continue
    mount --bind "$root/$cgroup" "$root"
    echo 0 > "$root/init/cgroup.procs"
    # v2: a group with processes hands no controllers down, so this comes last.
    for name in $(cat "$root/cgroup.controllers" 2>/dev/null); do
        echo "+$name" > "$root/cgroup.subtree_control"
    done
done
while [ $# -gt 0 ]; do
    mkdir -p "$dir/$1" "$2"
    mount --bind "$dir/$1" "$2"
    shift 2
done
mount --bind "$dir/hosts" /etc/hosts
mount --make-rshared /
mv "$dir/pid.new" "$dir/pid"
while :; do sleep 3600 || :; done
"#;

/// The script of a power loss. It kills every process but the first one, and empties file systems
/// in memory. Cgroups of containers are removed once their processes are gone.
const POWER_OFF: &str = r#"
set -e
kill -s KILL -- -1
groups() { find /sys/fs/cgroup -depth -type d -path '*/kubepods*' "$@"; }
for _ in $(seq 100); do
    groups -exec rmdir {} + 2> /dev/null || :
    if [ -z "$(groups)" ]; then break; fi
    sleep 0.1
done
[ -z "$(groups)" ]
awk '$2 ~ "^(/run/containerd|/var/lib/kubelet)/" { print $2 }' /proc/self/mounts | sort -r |
    while read -r mount; do umount --lazy "$mount"; done
find /run/containerd /run/systemd/units -mindepth 1 -xdev -delete
"#;

/// The script of a process that joins the namespaces: it joins the cgroups too.
const JOIN: &str = r#"
for procs in /sys/fs/cgroup/init/cgroup.procs /sys/fs/cgroup/*/init/cgroup.procs; do
    if [ -f "$procs" ]; then echo 0 > "$procs"; fi
done
exec "$@"
"#;

/// Network, PID, mount and cgroup namespaces that live as long as the value.
#[derive(Debug)]
pub(super) struct Space {
    first: Process,
    pid: u32,
}

impl Space {
    /// Makes the namespaces.
    pub(super) fn open(dir: &RunDir, id: &str, hosts: &[(String, IpAddr)]) -> Result<Self, Error> {
        let cgroup = cgroup(dir, id)?;
        let mut lines = fs::read_to_string("/etc/hosts").map_err(Error::io("read /etc/hosts"))?;
        for (name, address) in hosts {
            let _ = write!(lines, "\n{address} {name}\n");
        }
        dir.write("hosts", lines)?;
        let flags =
            ["--net", "--mount", "--pid", "--fork", "--kill-child=KILL", "sh", "-c", FIRST, "node"];
        let mut first = Process::new("unshare", "unshare", dir.path().join("unshare.log"))
            .variable("SECOND", SECOND)
            .arguments(flags)
            .arguments([dir.path().as_os_str(), cgroup.as_ref()])
            .arguments(OWN.iter().flat_map(|(own, seen)| [own, seen]).map(OsString::from));
        first.start()?;
        let file = dir.path().join("pid");
        let pid = until("the node's namespaces", DEADLINE, || {
            first.check()?;
            let text =
                fs::read_to_string(&file).map_err(|error| Wait::NotYet(error.to_string()))?;
            text.trim().parse().map_err(|_| Wait::NotYet(text))
        })?;
        Ok(Self { first, pid })
    }

    /// Returns the first process of the namespaces, as the machine numbers it.
    pub(super) const fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns the words before a command that runs inside.
    pub(super) fn wrapper(&self) -> Vec<OsString> {
        let target = self.pid.to_string();
        let enter = ["nsenter", "--target", &target, "--net", "--mount", "--pid", "--cgroup", "--"];
        enter.into_iter().chain(["sh", "-c", JOIN, "join"]).map(OsString::from).collect()
    }

    /// Runs a command inside to its end.
    pub(super) fn run(&self, command: &[&str]) -> Result<(), Error> {
        let words = self.wrapper();
        run::output(Command::new(&words[0]).args(&words[1..]).args(command)).map(drop)
    }

    /// Kills every process inside, and keeps the files on disk.
    pub(super) fn power_off(&self) -> Result<(), Error> {
        self.run(&["sh", "-c", POWER_OFF])
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        // The first process ends with `unshare`, and every process inside ends with the first.
        let _ = self.first.kill();
        let _ = until("the end of the node's processes", DEADLINE, || {
            if runs(self.pid) { Err(Wait::NotYet("still running".into())) } else { Ok(()) }
        });
    }
}

/// Creates the name of the node's cgroups, and registers their removal, which is not automatic.
fn cgroup(dir: &RunDir, id: &str) -> Result<String, Error> {
    let name = format!("image-swap-{id}");
    let all = format!("find /sys/fs/cgroup -depth -type d -path '*/{name}*'");
    // A process that has not quite ended keeps its group.
    dir.undo(&format!(
        "for _ in $(seq 50); do {all} -exec rmdir {{}} +; [ -z \"$({all})\" ] && break; sleep 0.1; done"
    ))?;
    Ok(name)
}
