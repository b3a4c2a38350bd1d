//! What the guard is told: how to put the host back.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Place;
use crate::{
    Before, Bytes, Entry, File, Host, HostPath, Ledger, Plan, Step, Written,
    plan::{Back, without_us},
};

/// How to put a host back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Order {
    /// Where its `/` is.
    pub(super) root: PathBuf,
    /// What to do, in order; the ledger is the last file.
    pub(super) undo: Vec<Undo>,
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
pub(super) enum Undo {
    MakeDirectory {
        path: HostPath,
        mode: u32,
    },
    /// Put back what was there before; `ours` is all that the change puts there.
    File {
        path: HostPath,
        before: Before,
        ours: Vec<Bytes>,
    },
    RemoveDirectory {
        path: HostPath,
    },
}

impl Undo {
    /// `step`, which takes back something of `plan`, if it is one that changes files.
    pub(super) fn of(step: &Step, plan: &Plan) -> Option<Self> {
        let file = |path: &HostPath, before: Option<&File>| {
            let written = plan.steps.iter().filter_map(|step| match step {
                Step::Write { path: found, file } if found == path => Some(file.bytes[..].into()),
                _ => None,
            });
            Self::File { path: path.clone(), before: Before::of(before), ours: written.collect() }
        };
        Some(match step {
            Step::MakeDirectory { path, mode } => {
                Self::MakeDirectory { path: path.clone(), mode: *mode }
            }
            Step::Write { path, file: before } => file(path, Some(before)),
            Step::Remove { path } => file(path, None),
            Step::RemoveDirectory { path } => Self::RemoveDirectory { path: path.clone() },
            Step::Restart { .. } | Step::Reload { .. } => return None,
        })
    }

    /// The path that is put back.
    pub(super) const fn path(&self) -> &HostPath {
        match self {
            Self::MakeDirectory { path, .. }
            | Self::File { path, .. }
            | Self::RemoveDirectory { path } => path,
        }
    }

    /// What is left to do of it on `host`.
    ///
    /// # Errors
    /// Why the file stays as somebody else has made it meanwhile.
    pub(super) fn step(&self, host: &Host) -> Result<Option<Step>, String> {
        let (path, before, ours) = match self.clone() {
            Self::MakeDirectory { path, mode } => {
                return Ok(Some(Step::MakeDirectory { path, mode }));
            }
            Self::RemoveDirectory { path } => return Ok(Some(Step::RemoveDirectory { path })),
            Self::File { path, before, ours } => (path, before, ours),
        };
        let stays = |why: &str| format!("{path} was changed meanwhile, and stays: {why}");
        let now = match host.look(&path) {
            Entry::Absent => None,
            Entry::File(file) => Some(file),
            _ => return Err(stays("it is no regular file")),
        };
        let put = |file: Option<File>| match file {
            Some(file) => Step::Write { path: path.clone(), file },
            None => Step::Remove { path: path.clone() },
        };
        let was = before.file();
        Ok(match now {
            now if now == was => None,
            Some(now) if was.as_ref().is_none_or(|was| was.bytes != now.bytes) => {
                if ours.is_empty() {
                    return Err(stays("it had been removed"));
                }
                match without_us(&path, &Written { before, ours }, &now) {
                    Back::Remove => Some(put(None)),
                    Back::Write { file, .. } => (file != now).then(|| put(Some(file))),
                    Back::Stays(why) => return Err(stays(&why)),
                }
            }
            _ => Some(put(was)),
        })
    }
}

impl Order {
    /// The bytes that the configuration had.
    pub(super) fn config_before(&self) -> Option<Vec<u8>> {
        self.undo.iter().find_map(|undo| match undo {
            Undo::File { path, before, .. } if *path == self.config => {
                before.file().map(|file| file.bytes)
            }
            _ => None,
        })
    }

    /// What is to be done before the runtime is restarted, and what after it: the
    /// ledger knows of every file until all is as it was.
    pub(super) fn parts(&self) -> (&[Undo], &[Undo]) {
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
    pub(super) fn place(&self) -> Place {
        Place { socket: self.socket.clone(), cri: self.cri, pid: self.pid }
    }
}
