//! The namespaces of a node.

use std::{ffi::OsString, fmt::Write, fs, net::IpAddr};

use super::DEADLINE;
use crate::{
    error::Error,
    janitor::RunDir,
    process::{Process, runs},
    wait::{Wait, until},
};

/// The directory that the node sees as `/etc/containerd`.
pub(super) const ETC_CONTAINERD: &str = "etc-containerd";

/// Directories of the node's own, and where it sees them. containerd, kubelet
/// and the CNI library have most of these paths built in.
const OWN: [(&str, &str); 8] = [
    (ETC_CONTAINERD, "/etc/containerd"),
    ("run-containerd", "/run/containerd"),
    ("var-lib-containerd", "/var/lib/containerd"),
    ("var-lib-kubelet", "/var/lib/kubelet"),
    ("var-lib-cni", "/var/lib/cni"),
    ("var-log-pods", "/var/log/pods"),
    ("var-log-containers", "/var/log/containers"),
    ("etc-kubernetes", "/etc/kubernetes"),
];

/// The first process of the namespaces: it notes its pid as the machine sees it
/// (the old `/proc` still shows that), prepares the mounts, and then only reaps.
/// A mount point that the machine lacks stays behind as an empty directory.
const SCRIPT: &str = r#"
set -e
read -r pid rest < /proc/self/stat
mount -t proc proc /proc
dir=$1; shift
while [ $# -gt 0 ]; do
    mkdir -p "$dir/$1" "$2"
    mount --bind "$dir/$1" "$2"
    shift 2
done
mount --bind "$dir/hosts" /etc/hosts
mount --make-rshared /
echo "$pid" > "$dir/pid.new"
mv "$dir/pid.new" "$dir/pid"
while sleep 3600; do :; done
"#;

/// PID and mount namespaces that live as long as the value.
#[derive(Debug)]
pub(super) struct Space {
    first: Process,
    pid: u32,
}

impl Space {
    /// Makes the namespaces.
    pub(super) fn open(dir: &RunDir, hosts: &[(String, IpAddr)]) -> Result<Self, Error> {
        let mut lines = fs::read_to_string("/etc/hosts").map_err(Error::io("read /etc/hosts"))?;
        for (name, address) in hosts {
            let _ = write!(lines, "\n{address} {name}\n");
        }
        dir.write("hosts", lines)?;
        let flags = ["--mount", "--pid", "--fork", "--kill-child=KILL", "sh", "-c", SCRIPT, "node"];
        let mut first = Process::new("unshare", "unshare", dir.path().join("unshare.log"))
            .arguments(flags)
            .arguments([dir.path()])
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

    /// The command before a command that runs inside.
    pub(super) fn wrapper(&self) -> Vec<OsString> {
        let target = self.pid.to_string();
        ["nsenter", "--target", &target, "--mount", "--pid", "--"].map(OsString::from).to_vec()
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        // `unshare` takes the first process with it, and that one everything inside.
        let _ = self.first.kill();
        let _ = until("the end of the node's processes", DEADLINE, || {
            if runs(self.pid) { Err(Wait::NotYet("still running".into())) } else { Ok(()) }
        });
    }
}
