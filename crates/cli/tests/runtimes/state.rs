//! States of a host before anything is declared for it.

use image_swap_lab::LabHost;
use image_swap_testbed::Containerd;

/// The configuration of containerd before `apply`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The host has no config.toml.
    Fresh,
    /// The file is the output of `containerd config default`, as many guides have it.
    Default,
    /// The file of kubeadm's users, without settings of registries.
    Plain,
    /// `config_path` contains one directory.
    ConfigPath,
    /// Two are, as some distributions ship it.
    ColonList,
    /// Mirrors of another tool in the deprecated table.
    MirrorsTable,
    /// config.toml imports another file.
    DropIn,
}

pub(crate) const STATES: [State; 7] = [
    State::Fresh,
    State::Default,
    State::Plain,
    State::ConfigPath,
    State::ColonList,
    State::MirrorsTable,
    State::DropIn,
];

/// Returns the newest configuration version that a containerd reads.
pub(crate) fn newest_version(containerd: &Containerd) -> u8 {
    match containerd.minor() {
        "1.6" | "1.7" => 2,
        "2.0" | "2.1" | "2.2" => 3,
        _ => 4,
    }
}

/// Returns true if this containerd can be in this state with a file of this version.
pub(crate) fn possible(state: State, version: u8, containerd: &Containerd) -> bool {
    let newest = newest_version(containerd);
    match state {
        // containerd chooses the version.
        State::Fresh | State::Default => version == newest,
        _ => version <= newest,
    }
}

/// Writes the files of a state.
pub(crate) fn make(host: &LabHost, state: State, version: u8, containerd: &Containerd) {
    let config = match state {
        State::Default => Some(containerd.default_configuration().unwrap()),
        _ => config(state, version),
    };
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
        State::Fresh | State::Default => return None,
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
