//! One thing to do.

use crate::{File, HostPath, Runtime};

/// One thing to do on a host. Doing it twice is doing it once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make a directory, unless it is there; its parent is.
    MakeDirectory {
        /// Where.
        path: HostPath,
        /// Its permissions.
        mode: u32,
    },
    /// Put a file in place of what is there, in one move; its directory is there.
    Write {
        /// Where.
        path: HostPath,
        /// Its bytes and permissions.
        file: File,
    },
    /// Remove a file, if it is there.
    Remove {
        /// Where.
        path: HostPath,
    },
    /// Remove a directory, if it is there and empty; else leave it.
    RemoveDirectory {
        /// Where.
        path: HostPath,
    },
    /// Restart the runtime: the files before this are what it is to read.
    Restart {
        /// Which.
        runtime: Runtime,
    },
    /// Have the runtime read its files again, which stops nothing.
    Reload {
        /// Which.
        runtime: Runtime,
    },
}

impl Step {
    /// The path that is changed, if one is.
    pub const fn path(&self) -> Option<&HostPath> {
        match self {
            Self::MakeDirectory { path, .. }
            | Self::Write { path, .. }
            | Self::Remove { path }
            | Self::RemoveDirectory { path } => Some(path),
            Self::Restart { .. } | Self::Reload { .. } => None,
        }
    }
}
