//! What the guard is told: how to put the host back.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Place;
use crate::{Bytes, File, HostPath, Step};

/// How to put a host back.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    /// Where its `/` is.
    pub(super) root: PathBuf,
    /// What to do, in order.
    pub(super) undo: Vec<Undo>,
    /// The file whose change needs a restart.
    pub(super) config: HostPath,
    /// The command that restarts the runtime.
    pub(super) command: String,
    /// Where the runtime is.
    pub(super) socket: PathBuf,
    /// Whether that speaks CRI.
    pub(super) cri: bool,
    /// After how many seconds without a word it is done anyway.
    pub(super) seconds: u64,
}

/// A step back.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub(super) enum Undo {
    MakeDirectory { path: HostPath, mode: u32 },
    Write { path: HostPath, bytes: Bytes, mode: u32 },
    Remove { path: HostPath },
    RemoveDirectory { path: HostPath },
}

impl Undo {
    /// `step`, if it is one that changes files.
    pub(super) fn of(step: &Step) -> Option<Self> {
        Some(match step.clone() {
            Step::MakeDirectory { path, mode } => Self::MakeDirectory { path, mode },
            Step::Write { path, file } => {
                Self::Write { path, bytes: Bytes::from(&file.bytes[..]), mode: file.mode }
            }
            Step::Remove { path } => Self::Remove { path },
            Step::RemoveDirectory { path } => Self::RemoveDirectory { path },
            Step::Restart { .. } | Step::Reload { .. } => return None,
        })
    }

    fn step(&self) -> Step {
        match self {
            Self::MakeDirectory { path, mode } => {
                Step::MakeDirectory { path: path.clone(), mode: *mode }
            }
            Self::Write { path, bytes, mode } => {
                Step::Write { path: path.clone(), file: File { bytes: bytes.get(), mode: *mode } }
            }
            Self::Remove { path } => Step::Remove { path: path.clone() },
            Self::RemoveDirectory { path } => Step::RemoveDirectory { path: path.clone() },
        }
    }
}

impl Order {
    /// The steps back.
    pub(super) fn steps(&self) -> Vec<Step> {
        self.undo.iter().map(Undo::step).collect()
    }

    /// The bytes that the configuration had.
    pub(super) fn config_before(&self) -> Option<Vec<u8>> {
        self.undo.iter().find_map(|undo| match undo {
            Undo::Write { path, bytes, .. } if *path == self.config => Some(bytes.get()),
            _ => None,
        })
    }

    /// The runtime after it was put back.
    pub(super) fn place(&self) -> Place {
        Place { socket: self.socket.clone(), cri: self.cri, pid: None }
    }
}
