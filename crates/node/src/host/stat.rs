//! Reads the entry at a path.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::Path,
    time::SystemTime,
};

use rustix::process::{getegid, geteuid};

use crate::{
    files::{HostEntry, HostFile, HostPath},
    host::Host,
};

/// More than any configuration is.
const LARGEST: u64 = 16 << 20;

impl Host {
    /// Returns the entry at `path`: [`HostEntry::Other`] with the reason if it cannot be read.
    pub fn stat(&self, path: &HostPath) -> HostEntry {
        self.entry(path).unwrap_or_else(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => HostEntry::Absent,
            _ => HostEntry::Other(error.to_string()),
        })
    }

    /// Returns the time of the last change of the file at `path`, and of the link to it; `None` if
    /// there is none.
    pub(crate) fn changed(&self, path: &HostPath) -> Option<SystemTime> {
        let behind = self.at(path).and_then(|path| fs::symlink_metadata(path)?.modified()).ok();
        self.placed(path).max(behind)
    }

    /// Returns the time at which the entry at `path` itself was made or changed, even if it is a
    /// link; `None` if there is none.
    pub(crate) fn placed(&self, path: &HostPath) -> Option<SystemTime> {
        fs::symlink_metadata(self.path_without_following(path).ok()?).ok()?.modified().ok()
    }

    fn entry(&self, path: &HostPath) -> io::Result<HostEntry> {
        let Some(parent) = path.parent() else { return directory(self.root.path()) };
        let here = self.at(&parent)?.join(path.name());
        let data = fs::symlink_metadata(&here)?;
        if !data.is_symlink() {
            return plain(&here, &data);
        }
        let target = fs::read_link(&here)?.to_string_lossy().into_owned();
        let behind = self.at(path).and_then(|behind| {
            let data = fs::symlink_metadata(&behind)?;
            plain(&behind, &data)
        });
        Ok(match behind {
            Ok(directory @ HostEntry::Directory(_)) => directory,
            Ok(HostEntry::File(file)) => HostEntry::Link(target, Some(file)),
            _ => HostEntry::Link(target, None),
        })
    }
}

fn plain(here: &Path, data: &fs::Metadata) -> io::Result<HostEntry> {
    let kind = data.file_type();
    Ok(if kind.is_dir() {
        directory(here)?
    } else if kind.is_file() && data.size() <= LARGEST {
        let mode = data.permissions().mode() & 0o7777;
        let owner = (data.uid(), data.gid());
        let own = (geteuid().as_raw(), getegid().as_raw());
        let owner = Some(owner).filter(|owner| *owner != own);
        HostEntry::File(HostFile { bytes: fs::read(here)?, mode, owner })
    } else if kind.is_file() {
        HostEntry::Other(format!("a file of {} bytes", data.size()))
    } else if kind.is_socket() {
        HostEntry::Other("a socket".to_owned())
    } else {
        HostEntry::Other("neither a file nor a directory".to_owned())
    })
}

fn directory(here: &Path) -> io::Result<HostEntry> {
    let names = fs::read_dir(here)?;
    let mut names: Vec<String> = names
        .map(|name| Ok(name?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<_>>()?;
    names.sort_unstable();
    Ok(HostEntry::Directory(names))
}
