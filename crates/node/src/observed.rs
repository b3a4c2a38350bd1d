//! The observed state of a host.

use crate::{
    files::{HostFiles, HostPath},
    ledger::{Ledger, LedgerError},
    runtime::kind::{ContainerRuntime, Version},
};

/// Start of the runtime, compared with the last change of the files that it reads when it starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RuntimeStart {
    /// The host has no record of the start.
    #[default]
    Unknown,
    /// The runtime was started after the last change, and has read the files as they are.
    AfterChange,
    /// A file was changed after the start: the runtime has not read it as it is.
    BeforeChange,
}

/// The observed state of a host.
#[derive(Clone, Debug)]
pub struct ObservedHost {
    /// The container runtime of the host.
    pub runtime: ContainerRuntime,
    /// The version of the runtime; `None` if it is unknown.
    pub version: Option<Version>,
    /// The main file of its configuration; see [`ContainerRuntime::config`].
    pub config: HostPath,
    /// True if the declared registry accepts only tokens: it responds to user name and password
    /// with `401` and a `Bearer` challenge. containerd before 2.1 then needs the credential in
    /// config.toml instead of a header.
    pub bearer_only: bool,
    /// The command line of the runtime's process; empty if it was not seen.
    pub arguments: Vec<String>,
    /// True if no runtime runs on the host, and none has to be restarted: an image of a host.
    pub at_rest: bool,
    /// The `config_path` that the running containerd was started with; empty if it was unset.
    /// `None` if containerd does not report it: only containerd 1 does.
    pub in_force: Option<String>,
    /// True if only some directories of the host are mounted: an absent file may exist on the host.
    pub is_mounted: bool,
    /// The start of the runtime, compared with the last change of its configuration; always
    /// unknown if its process is observed.
    pub start: RuntimeStart,
    /// The files that were read; see [`crate::required_paths()`].
    pub files: HostFiles,
}

impl ObservedHost {
    /// Returns a host of which only the runtime is known.
    pub fn new(runtime: ContainerRuntime, version: Option<Version>) -> Self {
        Self {
            runtime,
            version,
            config: runtime.config(),
            bearer_only: false,
            arguments: Vec::new(),
            at_rest: false,
            in_force: None,
            is_mounted: false,
            start: RuntimeStart::Unknown,
            files: HostFiles::default(),
        }
    }

    /// Returns true if the runtime is a containerd before 2.1, or its version is unknown. Such a
    /// containerd sends no header of a `hosts.toml` to the token service of a registry.
    pub(crate) fn drops_headers(&self) -> bool {
        const SENT: Version = Version::new(2, 1, 0);
        let is_before = self.version.is_none_or(|version| version < SENT);
        self.runtime == ContainerRuntime::Containerd && is_before
    }

    /// Returns true if the file at `path`, which image-swap wrote, is certainly absent: the
    /// directory that `ledger` was made for exists, or the whole host is observed.
    pub(crate) fn is_gone(&self, path: &HostPath, ledger: &Ledger) -> bool {
        let mut above = std::iter::successors(path.parent(), HostPath::parent);
        let directory = above.find(|directory| !ledger.directories.contains(directory));
        !self.is_mounted || directory.is_none_or(|directory| self.files.exists(&directory))
    }

    /// Returns the ledger; `None` if image-swap wrote nothing on the host.
    ///
    /// # Errors
    /// If there is a ledger that cannot be read.
    pub fn ledger(&self) -> Result<Option<Ledger>, LedgerError> {
        Ledger::read(&self.files)
    }
}
