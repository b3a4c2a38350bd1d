//! The files of a node.

use std::{collections::BTreeMap, fmt, fs, io, os::unix::fs::MetadataExt, path::Path};

use anyhow::{Context, Result};
use image_swap_testbed::Node;

/// Files and directories of a node, by their paths there.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct NodeFiles(BTreeMap<String, NodeEntry>);

/// A file or a directory.
#[derive(Clone, PartialEq, Eq)]
struct NodeEntry {
    /// Bytes of a file; `None` for a directory.
    content: Option<Vec<u8>>,
    mode: u32,
    /// Inode and time of the last change, which another writing changes.
    written: (u64, i64, i64),
}

/// The directory of containerd's configuration on a node.
const CONFIG: &str = "/etc/containerd";
/// The directory of the mirrors on a node.
const MIRRORS: &str = "/etc/containerd/certs.d";
/// The directory of the agent's state on a node.
const STATE: &str = "/var/lib/image-swap";

impl NodeFiles {
    /// Reads every file below the directory of the mirrors and below that of the agent's state.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn of(node: &Node) -> Result<Self> {
        Self::read(node, "certs.d", MIRRORS)
    }

    /// Reads the same files, and all others of containerd's configuration.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn whole(node: &Node) -> Result<Self> {
        Self::read(node, "", CONFIG)
    }

    /// Reads the files of `node`. A file that is being replaced is read again.
    fn read(node: &Node, folder: &str, seen: &str) -> Result<Self> {
        loop {
            let mut files = Self::default();
            let read = files.add(&node.etc_containerd().join(folder), seen);
            match read.and_then(|()| files.add(&node.state(), STATE)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                read => return read.map(|()| files).context("read the files of a node"),
            }
        }
    }

    fn add(&mut self, folder: &Path, seen: &str) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let seen = format!("{seen}/{}", entry.file_name().to_string_lossy());
            let metadata = entry.metadata()?;
            let content = if metadata.is_dir() {
                self.add(&entry.path(), &seen)?;
                None
            } else {
                Some(fs::read(entry.path())?)
            };
            let written = match &content {
                Some(_) => (metadata.ino(), metadata.mtime(), metadata.mtime_nsec()),
                None => (metadata.ino(), 0, 0),
            };
            self.0.insert(seen, NodeEntry { content, mode: metadata.mode(), written });
        }
        Ok(())
    }

    /// Returns the entries without those of the agent's state.
    #[must_use]
    pub fn mirrors(mut self) -> Self {
        self.0.retain(|path, _| path.starts_with(MIRRORS));
        self
    }

    /// Returns the paths of the agent's state.
    pub fn state(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).filter(|path| path.starts_with(STATE)).collect()
    }

    /// Returns the text of the file at `path`; `None` if there is no such file.
    pub fn text(&self, path: &str) -> Option<String> {
        let content = self.0.get(path)?.content.as_ref()?;
        Some(String::from_utf8_lossy(content).into_owned())
    }

    /// Returns one line for each entry that has another content or mode than in `before`, is
    /// missing there, or is there alone.
    pub fn changes(&self, before: &Self) -> Vec<String> {
        self.compare(before, |now, before| now.content == before.content && now.mode == before.mode)
    }

    /// Returns the same, and each file that was written again with its old content.
    pub fn writes(&self, before: &Self) -> Vec<String> {
        self.compare(before, |now, before| now == before)
    }

    fn compare(
        &self,
        before: &Self,
        is_same: impl Fn(&NodeEntry, &NodeEntry) -> bool,
    ) -> Vec<String> {
        let removed = before.0.keys().filter(|path| !self.0.contains_key(*path));
        let mut lines: Vec<_> = removed.map(|path| format!("{path} is removed")).collect();
        for (path, now) in &self.0 {
            match before.0.get(path) {
                None => lines.push(format!("{path} is new: {now:?}")),
                Some(old) if !is_same(now, old) => lines.push(format!("{path}: {old:?}, {now:?}")),
                Some(_) => {}
            }
        }
        lines
    }
}

impl fmt::Debug for NodeFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.0).finish()
    }
}

impl fmt::Debug for NodeEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.content.as_ref().map(|bytes| String::from_utf8_lossy(bytes));
        write!(f, "{:o} {text:?}", self.mode)
    }
}
