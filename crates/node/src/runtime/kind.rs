//! The container runtimes of hosts.

use std::{fmt, str::FromStr};

use crate::host_path::HostPath;

/// Who pulls images on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Runtime {
    /// containerd with a `config.toml` of its own.
    Containerd,
    /// CRI-O, which reads what podman reads.
    Crio,
    /// The containerd of k3s, told by `registries.yaml`.
    K3s,
    /// The containerd of RKE2, told by `registries.yaml`.
    Rke2,
    /// dockerd.
    Docker,
    /// podman, buildah and skopeo: no daemon.
    Podman,
}

/// All runtimes.
pub const RUNTIMES: [Runtime; 6] = [
    Runtime::Containerd,
    Runtime::Crio,
    Runtime::K3s,
    Runtime::Rke2,
    Runtime::Docker,
    Runtime::Podman,
];

impl Runtime {
    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::Crio => "crio",
            Self::K3s => "k3s",
            Self::Rke2 => "rke2",
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }

    /// The one file of its configuration that plans may edit or add, where the
    /// host has it unless its service says otherwise.
    pub fn config(self) -> HostPath {
        HostPath::new(match self {
            Self::Containerd => "/etc/containerd/config.toml",
            Self::Crio | Self::Podman => "/etc/containers/registries.conf.d/50-image-swap.conf",
            Self::K3s => "/etc/rancher/k3s/registries.yaml",
            Self::Rke2 => "/etc/rancher/rke2/registries.yaml",
            Self::Docker => "/etc/docker/daemon.json",
        })
    }
}

impl FromStr for Runtime {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = RUNTIMES.into_iter().find(|runtime| runtime.name() == name);
        found.ok_or_else(|| format!("expected one of {}", RUNTIMES.map(Self::name).join(", ")))
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
