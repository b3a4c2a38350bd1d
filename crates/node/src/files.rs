//! Files of a host, as far as they were read.

use std::{borrow::Borrow, collections::BTreeMap, fmt, path::Path};

use serde::{Deserialize, Serialize};

/// The paths that were read, and their entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFiles(BTreeMap<HostPath, HostEntry>);

/// The entry at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostEntry {
    /// The path does not exist.
    Absent,
    /// The path is a regular file.
    File(HostFile),
    /// A directory, and the names in it, sorted.
    Directory(Vec<String>),
    /// A symbolic link to a file: its target as written, and the file behind it; `None` if that
    /// does not exist. A link to a directory is followed.
    Link(String, Option<HostFile>),
    /// A socket, a device, or an unreadable entry, with its description.
    Other(String),
}

/// Content, permissions and owner of a regular file.
#[derive(Clone, PartialEq, Eq)]
pub struct HostFile {
    /// The content of the file.
    pub bytes: Vec<u8>,
    /// The permissions, such as `0o644`.
    pub mode: u32,
    /// User and group; `None` if those of image-swap itself. A public file with `None`
    /// takes over the owner of the file that it replaces.
    pub owner: Option<(u32, u32)>,
}

impl HostFiles {
    /// Sets the entry at `path`.
    pub fn insert(&mut self, path: impl Into<HostPath>, entry: HostEntry) {
        self.0.insert(path.into(), entry);
    }

    /// Returns the entry at `path`; `None` if it was not read.
    pub fn get(&self, path: &HostPath) -> Option<&HostEntry> {
        self.0.get(path)
    }

    /// Returns the regular file at `path`, also behind a link.
    pub fn file(&self, path: &HostPath) -> Option<&HostFile> {
        match self.0.get(path)? {
            HostEntry::File(file) | HostEntry::Link(_, Some(file)) => Some(file),
            _ => None,
        }
    }

    /// Returns the text of the regular file at `path`; `None` also if it is not UTF-8.
    pub fn text(&self, path: &HostPath) -> Option<&str> {
        std::str::from_utf8(&self.file(path)?.bytes).ok()
    }

    /// Returns the names in the directory at `path`; none if there is no directory.
    pub fn names(&self, path: &HostPath) -> &[String] {
        match self.0.get(path) {
            Some(HostEntry::Directory(names)) => names,
            _ => &[],
        }
    }

    /// Returns the paths of all entries of the directory at `path`.
    pub(crate) fn paths(&self, path: &HostPath) -> impl Iterator<Item = HostPath> {
        self.names(path).iter().map(|name| path.join(name))
    }

    /// Returns true if there is anything at `path`.
    pub fn exists(&self, path: &HostPath) -> bool {
        !matches!(self.0.get(path), None | Some(HostEntry::Absent))
    }

    /// Returns all entries.
    pub fn iter(&self) -> impl Iterator<Item = (&HostPath, &HostEntry)> {
        self.0.iter()
    }
}

impl HostFile {
    /// Returns a file that all users may read, or its owner alone if it is secret.
    pub(crate) fn new(text: impl Into<Vec<u8>>, is_secret: bool) -> Self {
        let mode = if is_secret { 0o600 } else { 0o644 };
        Self { bytes: text.into(), mode, owner: None }
    }

    /// Returns a file that all users may read.
    pub fn public(text: impl Into<Vec<u8>>) -> Self {
        Self::new(text, false)
    }

    /// Returns a file that only its owner may read.
    pub fn secret(text: impl Into<Vec<u8>>) -> Self {
        Self::new(text, true)
    }

    /// Returns true if only its owner may read it: it may hold a credential.
    pub(crate) const fn is_private(&self) -> bool {
        matches!(self.mode & 0o077, 0)
    }

    /// Returns true if this file of a host already is what `wanted` describes.
    pub(crate) fn is_like(&self, wanted: &Self) -> bool {
        let owner = self.owner == wanted.owner || (wanted.owner.is_none() && !wanted.is_private());
        self.bytes == wanted.bytes && self.mode == wanted.mode && owner
    }
}

/// Shows no bytes, because they may contain a credential.
impl fmt::Debug for HostFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, mode {:03o}", self.bytes.len(), self.mode)
    }
}

/// An absolute path as the host sees it; I/O puts the root directory in front.
///
/// Always begins with `/`, and has neither a `/` at its end nor two in a row.
/// image-swap uses no path that is not UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct HostPath(String);

impl HostPath {
    /// Returns `path`, made absolute and without empty or `.` components.
    pub fn new(path: &str) -> Self {
        let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
        let path: String = parts.flat_map(|part| ["/", part]).collect();
        Self(if path.is_empty() { "/".to_owned() } else { path })
    }

    /// Returns the path of `name` (which may have several components) below it.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        Self::new(&[&self.0, "/", name].concat())
    }

    /// Returns the directory above; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        let (parent, name) = self.0.rsplit_once('/')?;
        (!name.is_empty()).then(|| Self::new(parent))
    }

    /// Returns the last component; empty for the root.
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(_, name)| name)
    }

    /// Returns true if it is `directory` or below it.
    pub fn is_below(&self, directory: &Self) -> bool {
        Path::new(&self.0).starts_with(&directory.0)
    }

    /// Returns the text of the path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for HostPath {
    fn from(path: String) -> Self {
        Self::new(&path)
    }
}

impl From<&str> for HostPath {
    fn from(path: &str) -> Self {
        Self::new(path)
    }
}

impl From<HostPath> for String {
    fn from(path: HostPath) -> Self {
        path.0
    }
}

impl Borrow<str> for HostPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_is_absolute_and_has_one_spelling() {
        for (text, path) in [("", "/"), ("/", "/"), ("a//b/", "/a/b"), ("/a/./b", "/a/b")] {
            assert_eq!(HostPath::new(text).as_str(), path);
        }
        let path = HostPath::new("/etc").join("containerd/certs.d");
        assert_eq!(path.as_str(), "/etc/containerd/certs.d");
        assert_eq!(path.parent(), Some("/etc/containerd".into()));
        assert_eq!(path.name(), "certs.d");
        assert_eq!(HostPath::new("/etc").parent(), Some("/".into()));
        assert_eq!(HostPath::new("/").parent(), None);
    }

    #[test]
    fn below_is_on_a_component_boundary() {
        let path = HostPath::new("/etc/containerd");
        assert!(
            path.is_below(&"/etc".into()) && path.is_below(&path) && path.is_below(&"/".into())
        );
        assert!(!HostPath::new("/etc2").is_below(&"/etc".into()));
    }
}
