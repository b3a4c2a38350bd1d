//! One thing to do.

use crate::{
    files::{Entry, File, Files},
    host_path::HostPath,
    runtime::kind::Runtime,
};

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

impl Files {
    /// Does in memory what `step` does on a host.
    pub fn apply(&mut self, step: &Step) {
        match step {
            Step::MakeDirectory { path, .. } => {
                if !self.exists(path) {
                    self.name_in_parent(path, true);
                    self.insert(path.clone(), Entry::Directory(Vec::new()));
                }
            }
            Step::Write { path, file } => {
                self.name_in_parent(path, true);
                self.insert(path.clone(), Entry::File(file.clone()));
            }
            Step::Remove { path } => {
                self.name_in_parent(path, false);
                self.insert(path.clone(), Entry::Absent);
            }
            Step::RemoveDirectory { path } => {
                if self.names(path).is_empty() {
                    self.name_in_parent(path, false);
                    self.insert(path.clone(), Entry::Absent);
                }
            }
            Step::Restart { .. } | Step::Reload { .. } => {}
        }
    }

    fn name_in_parent(&mut self, path: &HostPath, there: bool) {
        let Some(parent) = path.parent() else { return };
        let Some(Entry::Directory(mut names)) = self.get(&parent).cloned() else { return };
        match names.binary_search_by(|name| name.as_str().cmp(path.name())) {
            Err(at) if there => names.insert(at, path.name().to_owned()),
            Ok(at) if !there => drop(names.remove(at)),
            _ => return,
        }
        self.insert(parent, Entry::Directory(names));
    }
}
