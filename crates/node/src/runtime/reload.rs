//! How a runtime learns that one of its files changed.

use crate::{files::HostPath, runtime::kind::Runtime};

/// How a runtime learns of a file, the mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Telling {
    /// It reads the file whenever it pulls.
    Nothing,
    /// It reads the file again when asked to, which stops nothing.
    Reload,
    /// It reads the file when it starts.
    Restart,
}

impl Telling {
    /// How `runtime`, whose main file is `config`, learns of the file at `path`.
    pub(crate) fn of(runtime: Runtime, config: &HostPath, path: &HostPath) -> Self {
        let is_main = path == config;
        let is_of_crio = path.is_below(&"/etc/crio/crio.conf.d".into());
        match runtime {
            Runtime::Containerd if is_main => Self::Restart,
            Runtime::Crio if is_of_crio => Self::Restart,
            // registries.yaml, and the CA that it names.
            Runtime::K3s | Runtime::Rke2 => Self::Restart,
            Runtime::Crio | Runtime::Docker if is_main => Self::Reload,
            _ => Self::Nothing,
        }
    }
}
