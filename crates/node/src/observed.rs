//! What a host is like.

use crate::{
    files::{Files, HostPath},
    ledger::{Ledger, LedgerError},
    runtime::kind::{Runtime, Version},
};

/// What was seen of a host.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Who pulls images there.
    pub runtime: Runtime,
    /// Its version; `None`: nobody could tell.
    pub version: Option<Version>,
    /// The main file of its configuration; see [`Runtime::config`].
    pub config: HostPath,
    /// True if the declared registry accepts tokens alone: it answers the declared user name and
    /// password with `401` and a `Bearer` challenge. containerd before 2.1 then needs them in
    /// config.toml instead of a header.
    pub bearer_only: bool,
    /// The command line of the runtime's process; empty if it was not seen.
    pub arguments: Vec<String>,
    /// True if no runtime runs on the host, and none has to be restarted: an image of a host.
    pub at_rest: bool,
    /// The `config_path` that the running containerd was started with, where it
    /// tells: containerd 1 does. Empty: none was set.
    pub in_force: Option<String>,
    /// What lies there, as far as it was looked at; see [`crate::needs()`].
    pub files: Files,
}

impl Observed {
    /// A host of which nothing is known but its runtime.
    pub fn new(runtime: Runtime, version: Option<Version>) -> Self {
        Self {
            runtime,
            version,
            config: runtime.config(),
            bearer_only: false,
            arguments: Vec::new(),
            at_rest: false,
            in_force: None,
            files: Files::default(),
        }
    }

    /// True if the runtime is a containerd before 2.1, which sends no header of a `hosts.toml` to
    /// the token service of a registry; also if its version is unknown.
    pub(crate) fn drops_headers(&self) -> bool {
        const SENT: Version = Version::new(2, 1, 0);
        let is_before = self.version.is_none_or(|version| version < SENT);
        self.runtime == Runtime::Containerd && is_before
    }

    /// What we last wrote there; `None`: nothing.
    ///
    /// # Errors
    /// If there is a ledger that cannot be read.
    pub fn ledger(&self) -> Result<Option<Ledger>, LedgerError> {
        Ledger::read(&self.files)
    }
}
