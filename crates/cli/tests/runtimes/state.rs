//! What a host is like before anything is declared for it.

use image_swap_lab::Host;
use image_swap_testbed::Containerd;

/// How containerd is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// There is no config.toml.
    Fresh,
    /// As kubeadm's users have it: nothing about registries.
    Plain,
    /// One directory is named.
    ConfigPath,
    /// Two are, as some distributions ship it.
    ColonList,
    /// Mirrors of somebody else, as it was done before.
    MirrorsTable,
    /// Another file is imported.
    DropIn,
}

pub(crate) const STATES: [State; 6] = [
    State::Fresh,
    State::Plain,
    State::ConfigPath,
    State::ColonList,
    State::MirrorsTable,
    State::DropIn,
];

/// Whether this containerd can be in this state with a file of this version.
pub(crate) fn possible(state: State, version: u8, containerd: &Containerd) -> bool {
    let old = containerd.version.starts_with("1.");
    let dead = ["2.2.0", "2.2.1"].contains(&containerd.version.as_str());
    match state {
        // Without a file there is no version.
        State::Fresh => version == 2,
        // Its CRI would not start.
        State::MirrorsTable if dead => false,
        _ => version == 2 || !old,
    }
}

/// Makes the host so.
pub(crate) fn make(host: &Host, state: State, version: u8) {
    let config = config(state, version);
    if let Some(config) = config {
        host.write("/etc/containerd/config.toml", &config).unwrap();
    }
    if state == State::DropIn {
        let text = format!("version = {version}\n[debug]\n  level = \"info\"\n");
        host.write("/etc/containerd/conf.d/10-debug.toml", &text).unwrap();
    }
}

fn config(state: State, version: u8) -> Option<String> {
    let (images, runtimes) = match version {
        2 => ("io.containerd.grpc.v1.cri", "io.containerd.grpc.v1.cri"),
        _ => ("io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"),
    };
    let registry = format!("[plugins.\"{images}\".registry");
    let more = match state {
        State::Fresh => return None,
        State::Plain | State::DropIn => String::new(),
        State::ConfigPath => format!("{registry}]\n  config_path = \"/etc/containerd/certs.d\"\n"),
        State::ColonList => format!(
            "{registry}]\n  config_path = \"/etc/containerd/certs.d:/etc/docker/certs.d\"\n"
        ),
        State::MirrorsTable => format!(
            "{registry}.mirrors.\"docker.io\"]\n  endpoint = [\"https://mirror.example.net\"]\n\
             {registry}.mirrors.\"other.example.com\"]\n  \
             endpoint = [\"https://mirror.example.net/v2/other\"]\n"
        ),
    };
    let imports = match state {
        State::DropIn => "imports = [\"/etc/containerd/conf.d/*.toml\"]\n",
        _ => "",
    };
    Some(format!(
        "# Of the host's owner.\nversion = {version}\n{imports}\n\
         [plugins.\"{runtimes}\".containerd.runtimes.runc]\n  \
         runtime_type = \"io.containerd.runc.v2\"\n\
         [plugins.\"{runtimes}\".containerd.runtimes.runc.options]\n  \
         SystemdCgroup = true # not to be lost\n{more}"
    ))
}
