//! What the guard is told, on disk for as long as it is armed: where it is killed
//! too, whoever comes next does what it would have done.

use std::{io, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    files::HostPath,
    host::{
        Host,
        write::{Access, read as read_file, remove as remove_file, replace},
    },
    ledger::{Ledger, LedgerBytes, OriginalFile},
    observe::daemon::RuntimeEndpoint,
};

/// How to put a host back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RollbackPlan {
    /// Where its `/` is.
    pub(super) root: PathBuf,
    /// What to do, in order; the ledger is the last file.
    pub(super) undo: Vec<UndoStep>,
    /// The file whose change needs a restart.
    pub(super) config: HostPath,
    /// The command that restarts the runtime.
    pub(super) command: String,
    /// Where the runtime is.
    pub(super) socket: PathBuf,
    /// Whether that speaks CRI.
    pub(super) cri: bool,
    /// The process that listened there before the change, if it could be seen.
    pub(super) pid: Option<u32>,
    /// After how many seconds without a word it is done anyway.
    pub(super) seconds: u64,
    /// Whether the runtime may have read what is taken back, whatever its file says by now.
    pub(super) restart: bool,
}

/// A step back.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub(super) enum UndoStep {
    MakeDirectory {
        path: HostPath,
        mode: u32,
    },
    /// Put back what was there before; `ours` is all that the change puts there.
    File {
        path: HostPath,
        before: OriginalFile,
        ours: Vec<LedgerBytes>,
    },
    RemoveDirectory {
        path: HostPath,
    },
}

/// Where it lies. There may be credentials in it: those of the files that are changed.
pub(crate) fn path() -> HostPath {
    Host::state().join("armed.json")
}

pub(super) fn write(host: &Host, order: &RollbackPlan) -> io::Result<()> {
    let bytes = serde_json::to_vec(order)?;
    replace(&host.at(&path())?, &bytes, Access::ours(0o600))
}

/// The change is good, or is taken back: which of both is decided by who comes first.
pub(super) fn remove(host: &Host) -> io::Result<()> {
    remove_file(&host.at(&path())?)
}

pub(super) fn read(host: &Host) -> io::Result<Option<RollbackPlan>> {
    let Some(bytes) = read_file(&host.at(&path())?)? else { return Ok(None) };
    // serde's messages quote what they found, which may be a credential.
    let unreadable = |error: serde_json::Error| {
        let (line, column) = (error.line(), error.column());
        io::Error::other(format!(
            "what another one wrote (line {line}, column {column}): use that one, or move it away \
             and run `image-swap node restore`"
        ))
    };
    serde_json::from_slice(&bytes).map(Some).map_err(unreadable)
}

impl Host {
    /// Whether a change was killed half way, together with the process that takes it
    /// back, and nobody is at work: the next change takes it back first.
    pub fn is_interrupted(&self) -> bool {
        self.at(&path()).is_ok_and(|path| path.exists()) && !self.is_locked()
    }
}

impl UndoStep {
    /// The path that is put back.
    pub(super) const fn path(&self) -> &HostPath {
        match self {
            Self::MakeDirectory { path, .. }
            | Self::File { path, .. }
            | Self::RemoveDirectory { path } => path,
        }
    }
}

impl RollbackPlan {
    /// The bytes that the configuration had.
    pub(super) fn config_before(&self) -> Option<Vec<u8>> {
        self.undo.iter().find_map(|undo| match undo {
            UndoStep::File { path, before, .. } if *path == self.config => {
                before.file().map(|file| file.bytes)
            }
            _ => None,
        })
    }

    /// What is to be done before the runtime is restarted, and what after it: the
    /// ledger knows of every file until all is as it was.
    pub(super) fn parts(&self) -> (&[UndoStep], &[UndoStep]) {
        let ledger = self.undo.iter().position(|undo| *undo.path() == Ledger::path());
        self.undo.split_at(ledger.unwrap_or(self.undo.len()))
    }

    /// The same, where `host` may be seen from elsewhere and be restarted by another
    /// `command`.
    pub(super) fn on(mut self, host: &Host, command: Option<&str>) -> Self {
        if let Ok(below) = self.socket.strip_prefix(&self.root) {
            self.socket = host.root().path().join(below);
        }
        if let Some(command) = command {
            command.clone_into(&mut self.command);
        }
        self
    }

    /// Where the runtime was before the change.
    pub(super) fn place(&self) -> RuntimeEndpoint {
        RuntimeEndpoint { socket: self.socket.clone(), cri: self.cri, pid: self.pid }
    }
}
