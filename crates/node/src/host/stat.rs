//! What lies at a path.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::Path,
};

use rustix::process::{getegid, geteuid};

use crate::{
    files::{Entry, File, HostPath},
    host::Host,
};

/// More than any configuration is.
const LARGEST: u64 = 16 << 20;

impl Host {
    /// What lies at `path`. What cannot be read is [`Entry::Other`], with the reason.
    pub fn look(&self, path: &HostPath) -> Entry {
        self.entry(path).unwrap_or_else(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Entry::Absent,
            _ => Entry::Other(error.to_string()),
        })
    }

    fn entry(&self, path: &HostPath) -> io::Result<Entry> {
        let Some(parent) = path.parent() else { return directory(self.root.path()) };
        let here = self.at(&parent)?.join(path.name());
        let data = fs::symlink_metadata(&here)?;
        if !data.is_symlink() {
            return plain(&here, &data);
        }
        let says = fs::read_link(&here)?.to_string_lossy().into_owned();
        let behind = self.at(path).and_then(|behind| {
            let data = fs::symlink_metadata(&behind)?;
            plain(&behind, &data)
        });
        Ok(match behind {
            Ok(directory @ Entry::Directory(_)) => directory,
            Ok(Entry::File(file)) => Entry::Link(says, Some(file)),
            _ => Entry::Link(says, None),
        })
    }
}

fn plain(here: &Path, data: &fs::Metadata) -> io::Result<Entry> {
    let kind = data.file_type();
    Ok(if kind.is_dir() {
        directory(here)?
    } else if kind.is_file() && data.size() <= LARGEST {
        let mode = data.permissions().mode() & 0o7777;
        let owner = (data.uid(), data.gid());
        let own = (geteuid().as_raw(), getegid().as_raw());
        let owner = Some(owner).filter(|owner| *owner != own);
        Entry::File(File { bytes: fs::read(here)?, mode, owner })
    } else if kind.is_file() {
        Entry::Other(format!("a file of {} bytes", data.size()))
    } else if kind.is_socket() {
        Entry::Other("a socket".to_owned())
    } else {
        Entry::Other("neither a file nor a directory".to_owned())
    })
}

fn directory(here: &Path) -> io::Result<Entry> {
    let names = fs::read_dir(here)?;
    let mut names: Vec<String> = names
        .map(|name| Ok(name?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<_>>()?;
    names.sort_unstable();
    Ok(Entry::Directory(names))
}
