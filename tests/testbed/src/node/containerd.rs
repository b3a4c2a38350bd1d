//! containerd and its configuration.

use std::{ffi::OsString, path::Path};

use serde_json::json;

use super::{
    network::Network,
    space::{ETC_CONTAINERD, Space},
};
use crate::{
    error::Error,
    janitor::RunDir,
    parts::{Containerd, NodeParts},
    process::Process,
};

/// The image of the process that holds a pod's namespaces, under a name that no
/// registry has.
pub(super) const PAUSE: &str = "testbed.invalid/pause:1";

/// Returns containerd in a node's namespaces, not yet started. `old` is a version other than
/// that of `parts`.
pub(super) fn process(
    dir: &RunDir,
    space: &Space,
    parts: &NodeParts,
    old: Option<&Containerd>,
    network: &Network,
) -> Result<Process, Error> {
    let own = |name| dir.path().join(name).display().to_string();
    let program = old.map_or(&parts.containerd, |old| &old.program);
    // Symbolic links to the plugins are no use here: the configuration takes the directory.
    let config = old.map_or(CONFIG, |_| OLD_CONFIG);
    let config = config
        .replace("@PAUSE@", PAUSE)
        .replace("@RUNC@", &parts.runc.display().to_string())
        .replace("@CNI_BIN@", &parts.cni.display().to_string())
        .replace("@CNI_CONF@", &own("cni"));
    dir.write(&format!("{ETC_CONTAINERD}/config.toml"), config)?;
    dir.make(&format!("{ETC_CONTAINERD}/certs.d"))?;
    let plugins = json!({
        "cniVersion": "1.0.0",
        "name": "testbed",
        "plugins": [{
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": true,
            "ipMasq": false,
            "hairpinMode": true,
            "ipam": {
                "type": "host-local",
                "dataDir": own("cni-addresses"),
                "ranges": [[{ "subnet": network.pods() }]],
                "routes": [{ "dst": "0.0.0.0/0" }],
            },
        }],
    });
    dir.write("cni/10-testbed.conflist", plugins.to_string())?;
    let path = |program: &Path| program.parent().unwrap_or(program).display().to_string();
    let programs = format!("{}:{}:/usr/sbin:/usr/bin:/sbin:/bin", path(program), path(&parts.runc));
    Ok(Process::new("containerd", program, dir.path().join("containerd.log"))
        .arguments(["--config", "/etc/containerd/config.toml"])
        .variable("PATH", programs)
        .inside(space.wrapper())
        .supervised(["sh", "-c", SUPERVISOR, "supervisor"].map(OsString::from).into()))
}

/// The script that runs containerd, and starts it again after each end that [`RESTART`] causes.
///
/// Each start makes systemd's invocation link of the unit (`unit_add_invocation_link` in systemd's
/// `unit.c`). The modification time of the link is the time of the start. The script ends with
/// containerd unless `RESTART` has run before.
const SUPERVISOR: &str = r#"
again=
while :; do
    ln -sfn "$(tr -d - < /proc/sys/kernel/random/uuid)" \
        /run/systemd/units/invocation:containerd.service
    sh -c 'echo "$$" > /run/containerd/containerd.pid; exec "$@"' start "$@"
    status=$?
    until [ -e /run/containerd/restart ]; do
        if [ -z "$again" ]; then exit "$status"; fi
        sleep 0.1
    done
    rm /run/containerd/restart
    again=yes
done
"#;

/// The script of a restart of containerd, which runs inside the node. It returns when containerd
/// has ended and starts again.
pub(super) const RESTART: &str = r#"
cd /run/containerd || exit
touch restart
kill "$(cat containerd.pid)"
for _ in $(seq 300); do
    if [ ! -e restart ]; then exit 0; fi
    sleep 0.1
done
echo "containerd has not ended within 30 s" >&2
exit 1
"#;

/// Paths are as the node sees them. The plugin NRI is disabled, since its socket below `/var/run`
/// belongs to the machine, where two nodes would compete for it. Limits of the machine decide some settings: with
/// `restrict_oom_score_adj` off, runc fails there with "can't get final child's PID
/// from pipe".
const CONFIG: &str = r#"version = 4
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.nri.v1.nri"]

[grpc]
  address = "/run/containerd/containerd.sock"

[plugins."io.containerd.grpc.v1.cri"]
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"

[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"

  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "@PAUSE@"

  [plugins."io.containerd.cri.v1.images".registry]
    config_path = "/etc/containerd/certs.d"

[plugins."io.containerd.cri.v1.runtime"]
  netns_mounts_under_state_dir = true
  restrict_oom_score_adj = true
  disable_apparmor = true
  enable_unprivileged_ports = false
  enable_unprivileged_icmp = false
  tolerate_missing_hugetlb_controller = true

  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["@CNI_BIN@"]
    conf_dir = "@CNI_CONF@"

  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"

    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        BinaryName = "@RUNC@"
        SystemdCgroup = false
"#;

/// The configuration with the names of containerd 1, which later versions also read.
const OLD_CONFIG: &str = r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.nri.v1.nri"]

[grpc]
  address = "/run/containerd/containerd.sock"

[plugins."io.containerd.grpc.v1.cri"]
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  sandbox_image = "@PAUSE@"
  netns_mounts_under_state_dir = true
  restrict_oom_score_adj = true
  disable_apparmor = true
  enable_unprivileged_ports = false
  enable_unprivileged_icmp = false
  tolerate_missing_hugetlb_controller = true

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "@CNI_BIN@"
    conf_dir = "@CNI_CONF@"

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "@RUNC@"
        SystemdCgroup = false

  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "/etc/containerd/certs.d"
"#;
