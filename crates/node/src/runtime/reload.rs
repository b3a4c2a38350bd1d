//! How a runtime learns that one of its files changed.

use crate::{files::HostPath, runtime::kind::ContainerRuntime};

/// How a runtime learns of a file, the mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ReloadMode {
    /// It reads the file whenever it pulls.
    OnPull,
    /// It reads the file again when asked to, which stops nothing.
    Reload,
    /// It reads the file when it starts.
    Restart,
}

impl ReloadMode {
    /// How `runtime`, whose main file is `config`, learns of the file at `path`.
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
