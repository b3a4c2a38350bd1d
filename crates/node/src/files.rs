//! What lies on a host, as far as it was looked at.

use std::{collections::BTreeMap, fmt};

use crate::host_path::HostPath;

/// Paths that were looked at, and what was there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files(BTreeMap<HostPath, Entry>);

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Nothing.
    Absent,
    /// A regular file.
    File(File),
    /// A directory, and the names in it, sorted.
    Directory(Vec<String>),
    /// A symbolic link to a file (one to a directory is followed): what it says,
    /// and the file behind it, if there is one.
    Link(String, Option<File>),
    /// A socket, a device, or something that could not be read: what in words.
    Other(String),
}

/// A regular file.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its permissions, such as `0o644`.
    pub mode: u32,
    /// User and group; `None` if those of image-swap itself. A public file with `None`
    /// takes over the owner of the file that it replaces.
    pub owner: Option<(u32, u32)>,
}

impl Files {
    /// Says what is at `path`.
    pub fn insert(&mut self, path: impl Into<HostPath>, entry: Entry) {
        self.0.insert(path.into(), entry);
    }

    /// What is at `path`; `None`: nobody looked.
    pub fn get(&self, path: &HostPath) -> Option<&Entry> {
        self.0.get(path)
    }

    /// The regular file at `path`, also behind a link.
    pub fn file(&self, path: &HostPath) -> Option<&File> {
        match self.0.get(path)? {
            Entry::File(file) | Entry::Link(_, Some(file)) => Some(file),
            _ => None,
        }
    }

    /// The text of the regular file at `path`; `None` also where it is not UTF-8.
    pub fn text(&self, path: &HostPath) -> Option<&str> {
        std::str::from_utf8(&self.file(path)?.bytes).ok()
    }

    /// The names in the directory at `path`; none where there is no directory.
    pub fn names(&self, path: &HostPath) -> &[String] {
        match self.0.get(path) {
            Some(Entry::Directory(names)) => names,
            _ => &[],
        }
    }

    /// Whether there is anything at `path`.
    pub fn exists(&self, path: &HostPath) -> bool {
        !matches!(self.0.get(path), None | Some(Entry::Absent))
    }

    /// All that was looked at.
    pub fn iter(&self) -> impl Iterator<Item = (&HostPath, &Entry)> {
        self.0.iter()
    }
}

impl File {
    /// A text that everybody may read.
    pub fn public(text: impl Into<Vec<u8>>) -> Self {
        Self { bytes: text.into(), mode: 0o644, owner: None }
    }

    /// A text that nobody else may read.
    pub fn secret(text: impl Into<Vec<u8>>) -> Self {
        Self { bytes: text.into(), mode: 0o600, owner: None }
    }

    /// True if only its owner may read it: it may hold a credential.
    pub(crate) const fn is_private(&self) -> bool {
        matches!(self.mode & 0o077, 0)
    }

    /// True if this file of a host already is what `wanted` describes.
    pub(crate) fn is_like(&self, wanted: &Self) -> bool {
        let owner = self.owner == wanted.owner || (wanted.owner.is_none() && !wanted.is_private());
        self.bytes == wanted.bytes && self.mode == wanted.mode && owner
    }
}

/// Not the bytes: there may be a credential among them.
impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, mode {:03o}", self.bytes.len(), self.mode)
    }
}
