//! Reads and changes the host. Every change of a file is atomic: readers see the old content or the
//! new one.

mod attributes;
pub(crate) mod chroot;
pub(crate) mod lock;
pub(crate) mod root;
mod stat;
pub(crate) mod write;

use std::{io, path::PathBuf};

use crate::{
    files::HostPath,
    host::{
        lock::Lock,
        root::Root,
        write::{make_directory, remove, remove_directory},
    },
    ledger::Ledger,
};

/// A host, by the directory that is its `/`.
#[derive(Clone, Debug)]
pub struct Host {
    root: Root,
}

impl Host {
    /// Returns the host whose `/` is `root`.
    pub const fn new(root: Root) -> Self {
        Self { root }
    }

    /// Returns the directory that is `/` of the host.
    pub const fn root(&self) -> &Root {
        &self.root
    }

    /// Returns the location of `path`, with every link followed.
    pub(crate) fn at(&self, path: &HostPath) -> io::Result<PathBuf> {
        self.root.resolve(path.as_str())
    }

    /// Returns the location of `path` itself, even if it is a link.
    pub(crate) fn path_without_following(&self, path: &HostPath) -> io::Result<PathBuf> {
        let parent = path.parent().unwrap_or_else(|| path.clone());
        Ok(self.at(&parent)?.join(path.name()))
    }

    /// Returns the directory of the ledger and the journal.
    pub(crate) fn state() -> HostPath {
        Ledger::path().parent().unwrap_or_else(|| HostPath::new("/"))
    }

    /// Locks the host against other runs of image-swap.
    pub(crate) fn lock(&self, waits: impl FnOnce()) -> io::Result<Lock> {
        let state = self.at(&Self::state())?;
        make_directory(&state, 0o700)?;
        Lock::take(&state.join(lock::NAME), waits)
    }

    /// Returns true if another run of image-swap has the lock.
    pub(crate) fn is_locked(&self) -> bool {
        self.at(&Self::state()).is_ok_and(|state| lock::is_taken(&state.join(lock::NAME)))
    }

    /// Removes the lock file and its directories if they contain no other file. The lock is
    /// still held.
    pub(crate) fn forget(&self, _held: &Lock) {
        let Ok(state) = self.at(&Self::state()) else { return };
        let others = std::fs::read_dir(&state).map_or(0, |names| {
            names.flatten().filter(|name| name.file_name() != lock::NAME).count()
        });
        if others == 0 {
            // A directory that stays is no harm, and there is nothing else to do.
            let _ = remove(&state.join(lock::NAME));
            let _ = remove_directory(&state);
            let _ = state.parent().map(remove_directory);
        }
    }
}
