//! The rollback plan of the watchdog, on disk for as long as the watchdog waits. If both processes
//! are killed, the next run rolls the change back by it. Its format outlives a process.

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

/// The way back to the host of before.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RollbackPlan {
    /// The root directory of the host.
    #[serde(rename = "root")]
    pub(super) root: PathBuf,
    /// The steps, in order; the ledger is the last file.
    #[serde(rename = "undo")]
    pub(super) undo: Vec<UndoStep>,
    /// The file whose change needs a restart.
    #[serde(rename = "config")]
    pub(super) config: HostPath,
    /// The command that restarts the runtime.
    #[serde(rename = "command")]
    pub(super) command: String,
    /// The socket of the runtime.
    #[serde(rename = "socket")]
    pub(super) socket: PathBuf,
    /// True if the socket serves CRI.
    #[serde(rename = "cri")]
    pub(super) cri: bool,
    /// The process that listened there before the change; `None` if it could not be seen.
    #[serde(rename = "pid")]
    pub(super) pid: Option<u32>,
    /// The seconds without a word after which the watchdog rolls back.
    #[serde(rename = "seconds")]
    pub(super) seconds: u64,
    /// True if the runtime may have read the changed file, whatever the file contains now.
    #[serde(rename = "restart")]
    pub(super) restart: bool,
}

/// A step of a rollback.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do")]
pub(super) enum UndoStep {
    #[serde(rename = "make-directory")]
    MakeDirectory {
        #[serde(rename = "path")]
        path: HostPath,
        #[serde(rename = "mode")]
        mode: u32,
    },
    /// Restores the file of before; `contents` are all that the change writes there.
    #[serde(rename = "file")]
    File {
        #[serde(rename = "path")]
        path: HostPath,
        #[serde(rename = "before")]
        before: OriginalFile,
        #[serde(rename = "ours")]
        contents: Vec<LedgerBytes>,
    },
    #[serde(rename = "remove-directory")]
    RemoveDirectory {
        #[serde(rename = "path")]
        path: HostPath,
    },
}

/// Returns the path of the journal. It may contain credentials of the files that are changed.
pub(crate) fn path() -> HostPath {
    Host::state().join("armed.json")
}

pub(super) fn write(host: &Host, order: &RollbackPlan) -> io::Result<()> {
    let bytes = serde_json::to_vec(order)?;
    replace(&host.at(&path())?, &bytes, Access::own(0o600))
}

/// Removes the journal, which commits the change. Commit and rollback race on it; the first wins.
pub(super) fn remove(host: &Host) -> io::Result<()> {
    remove_file(&host.at(&path())?)
}

pub(super) fn read(host: &Host) -> io::Result<Option<RollbackPlan>> {
    let Some(bytes) = read_file(&host.at(&path())?)? else { return Ok(None) };
    // serde's messages quote what they found, which may be a credential.
    let unreadable = |error: serde_json::Error| {
        let (line, column) = (error.line(), error.column());
        io::Error::other(format!(
            "another version of image-swap wrote it (line {line}, column {column}); use that \
             version, or move the file away and run `image-swap node restore`"
        ))
    };
    serde_json::from_slice(&bytes).map(Some).map_err(unreadable)
}

impl Host {
    /// Returns true if there is a journal: of a change that is being made, or that was killed half
    /// way.
    pub(super) fn has_journal(&self) -> bool {
        self.at(&path()).is_ok_and(|path| path.exists())
    }

    /// Returns true if a change was killed half way together with its watchdog, and no image-swap
    /// is at work: the next change rolls it back first.
    pub fn is_interrupted(&self) -> bool {
        self.has_journal() && !self.is_locked()
    }
}

impl UndoStep {
    /// Returns the path that is restored.
    pub(super) const fn path(&self) -> &HostPath {
        match self {
            Self::MakeDirectory { path, .. }
            | Self::File { path, .. }
            | Self::RemoveDirectory { path } => path,
        }
    }
}

impl RollbackPlan {
    /// Returns the main file of before; `None` if there was none.
    pub(super) fn config_before(&self) -> Option<Vec<u8>> {
        self.undo.iter().find_map(|undo| match undo {
            UndoStep::File { path, before, .. } if *path == self.config => {
                before.file().map(|file| file.bytes)
            }
            _ => None,
        })
    }

    /// Returns the steps before the restart of the runtime, and those after it: the ledger lists
    /// every file until all are restored.
    pub(super) fn parts(&self) -> (&[UndoStep], &[UndoStep]) {
        let ledger = self.undo.iter().position(|undo| *undo.path() == Ledger::path());
        self.undo.split_at(ledger.unwrap_or(self.undo.len()))
    }

    /// Returns the plan for `host`, whose root may be another directory now, with another
    /// `command` for the restart.
    pub(super) fn on(mut self, host: &Host, command: Option<&str>) -> Self {
        if let Ok(below) = self.socket.strip_prefix(&self.root) {
            self.socket = host.root().path().join(below);
        }
        if let Some(command) = command {
            command.clone_into(&mut self.command);
        }
        self
    }

    /// Returns the endpoint of the runtime before the change.
    pub(super) fn place(&self) -> RuntimeEndpoint {
        RuntimeEndpoint { socket: self.socket.clone(), cri: self.cri, pid: self.pid }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The format of the journal: earlier and later versions of image-swap read it.
    const JOURNAL: &str = r#"{"root":"/host","undo":[{"do":"make-directory","path":"/etc/a","mode":493},{"do":"file","path":"/etc/a/b","before":"absent","ours":["text"]},{"do":"file","path":"/etc/a/c","before":{"file":{"bytes":"old","mode":420,"owner":[1,2]}},"ours":[{"base64":"/w=="}]},{"do":"remove-directory","path":"/etc/d"}],"config":"/etc/a/b","command":"restart","socket":"/run/s","cri":true,"pid":7,"seconds":360,"restart":false}"#;

    #[test]
    fn format_of_the_journal_stays() {
        let plan: RollbackPlan = serde_json::from_str(JOURNAL).unwrap();
        assert_eq!(serde_json::to_string(&plan).unwrap(), JOURNAL);
        assert_eq!(path().as_str(), "/var/lib/image-swap/node/armed.json");
    }
}
