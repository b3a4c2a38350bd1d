//! The way in which each runtime picks up a changed file.

use crate::{files::HostPath, runtime::kind::ContainerRuntime};

/// The way in which a runtime picks up a changed file, the mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ReloadMode {
    /// The runtime reads the file at the next pull.
    OnPull,
    /// The runtime reads the file on reload, which stops no container.
    Reload,
    /// The runtime reads the file only when it starts.
    Restart,
}

impl ReloadMode {
    /// Returns the mode of the file at `path` for `runtime`, whose main file is `config`.
    pub(crate) fn of(runtime: ContainerRuntime, config: &HostPath, path: &HostPath) -> Self {
        let is_main = path == config;
        let is_of_crio = path.is_below(&"/etc/crio/crio.conf.d".into());
        match runtime {
            ContainerRuntime::Containerd if is_main => Self::Restart,
            ContainerRuntime::Crio if is_of_crio => Self::Restart,
            // registries.yaml, and the CA that it names.
            ContainerRuntime::K3s | ContainerRuntime::Rke2 => Self::Restart,
            ContainerRuntime::Crio | ContainerRuntime::Docker if is_main => Self::Reload,
            _ => Self::OnPull,
        }
    }
}
