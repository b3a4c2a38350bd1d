//! Parts that were built or unpacked once, kept outside the checkout.

use std::{
    env,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use crate::oci::digest_of;
use tempfile::TempDir;

use crate::error::Error;

/// The folder `$IMAGE_SWAP_CACHE`, else `$XDG_CACHE_HOME/image-swap`, else
/// `~/.cache/image-swap`.
///
/// An entry is a folder named after its content and version. It is filled under
/// another name and renamed when complete, so an interrupted run leaves no entry.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

/// Returns the name of the cache entry of a part: name, version, and a short hash of its
/// `sources`.
pub(crate) fn entry_name(part: &str, version: &str, sources: &[u8]) -> String {
    let digest = digest_of(sources);
    let hash = digest.trim_start_matches("sha256:").get(..12).unwrap_or_default();
    format!("{part}_{version}_{hash}")
}

/// The prefix of folders that are being filled.
const PARTIAL: &str = ".partial-";

impl Cache {
    /// Finds the folder and makes it if it is missing.
    ///
    /// # Errors
    /// The three variables are unset, or the folder cannot be made.
    pub fn open() -> Result<Self, Error> {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = set("IMAGE_SWAP_CACHE")
            .or_else(|| set("XDG_CACHE_HOME").map(|path| path.join("image-swap")))
            .or_else(|| set("HOME").map(|path| path.join(".cache/image-swap")))
            .ok_or_else(|| Error::unavailable("a cache directory", "set IMAGE_SWAP_CACHE"))?;
        let make = || {
            fs::create_dir_all(&root)?;
            root.canonicalize()
        };
        let root = make().map_err(Error::io(format!("make {}", root.display())))?;
        Ok(Self { root })
    }

    /// Returns the folder.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Returns the size of all files, in bytes.
    ///
    /// # Errors
    /// A folder cannot be read.
    pub fn size(&self) -> Result<u64, Error> {
        size_of(&self.root).map_err(Error::io(format!("read {}", self.root.display())))
    }

    /// Locks the cache for one set-up. Another one waits until the value is dropped.
    ///
    /// # Errors
    /// The lock file cannot be written.
    pub(crate) fn lock(&self) -> Result<File, Error> {
        let path = self.root.join(".lock");
        let lock = File::create(&path).map_err(Error::io(format!("write {}", path.display())))?;
        lock.lock().map_err(Error::io(format!("wait for {}", path.display())))?;
        // Only the holder of the lock fills folders.
        for name in self.names() {
            if name.starts_with(PARTIAL) {
                remove(&self.root.join(name))?;
            }
        }
        Ok(lock)
    }

    /// Makes a folder that is removed with the value, or by the next set-up.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub(crate) fn temporary(&self, name: &str) -> Result<TempDir, Error> {
        tempfile::Builder::new()
            .prefix(&format!("{PARTIAL}{name}-"))
            .tempdir_in(&self.root)
            .map_err(Error::io(format!("make a folder in {}", self.root.display())))
    }

    /// Returns the newest entry named `name`, or `name` followed by `_` and a version.
    pub(crate) fn find(&self, name: &str) -> Option<PathBuf> {
        let entries = self.names().into_iter().filter(|found| is_entry_of(found, name));
        entries
            .map(|entry| self.root.join(entry))
            .max_by_key(|path| path.metadata().and_then(|data| data.modified()).ok())
    }

    /// Returns the entry of `name`, and fills it with `make` if it is missing. `make`
    /// gets an empty folder, and returns the full name of the entry and the folder that
    /// becomes the entry.
    ///
    /// The caller holds the cache's [`lock`](Self::lock).
    pub(crate) fn entry(
        &self,
        name: &str,
        make: impl FnOnce(&Path) -> Result<(String, PathBuf), Error>,
    ) -> Result<PathBuf, Error> {
        if let Some(entry) = self.find(name) {
            return Ok(entry);
        }
        let partial = self.temporary(name)?;
        let (full_name, whole) = make(partial.path())?;
        let entry = self.root.join(full_name);
        fs::rename(&whole, &entry).map_err(Error::io(format!("make {}", entry.display())))?;
        Ok(entry)
    }

    /// Fills the entry `key` with `make`, in place of every other entry of `name`.
    ///
    /// The caller holds the cache's [`lock`](Self::lock).
    pub(crate) fn replace(
        &self,
        name: &str,
        key: &str,
        make: impl FnOnce(&Path) -> Result<PathBuf, Error>,
    ) -> Result<PathBuf, Error> {
        let partial = self.temporary(name)?;
        let whole = make(partial.path())?;
        self.remove(name)?;
        let entry = self.root.join(key);
        fs::rename(&whole, &entry).map_err(Error::io(format!("make {}", entry.display())))?;
        Ok(entry)
    }

    /// Removes every entry of `name`.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub(crate) fn remove(&self, name: &str) -> Result<(), Error> {
        let entries = self.names().into_iter().filter(|found| is_entry_of(found, name));
        entries.map(|entry| self.root.join(entry)).try_for_each(|path| remove(&path))
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }
}

/// Returns true if an entry called `found` is one of `name`, whatever its version.
fn is_entry_of(found: &str, name: &str) -> bool {
    let rest = found.strip_prefix(name);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io(format!("remove {}", path.display()))(error))
        }
        _ => Ok(()),
    }
}

fn size_of(folder: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let data = entry.metadata()?;
        sum += if data.is_dir() { size_of(&entry.path())? } else { data.len() };
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Cache, PARTIAL};

    fn cache() -> (tempfile::TempDir, Cache) {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache { root: folder.path().to_owned() };
        (folder, cache)
    }

    #[test]
    fn new_key_replaces_the_old_entry() {
        let (_folder, cache) = cache();
        let make = |work: &std::path::Path| {
            fs::create_dir(work.join("whole")).unwrap();
            Ok(work.join("whole"))
        };
        cache.replace("etcd", "etcd_1_a", make).unwrap();
        cache.replace("etcd", "etcd_2_b", make).unwrap();
        assert_eq!(cache.names(), ["etcd_2_b"]);
        assert_eq!(cache.find("etcd_1_a"), None);
    }

    #[test]
    fn interrupted_work_is_removed_under_the_lock() {
        let (folder, cache) = cache();
        fs::create_dir(folder.path().join(format!("{PARTIAL}go-x"))).unwrap();
        let _lock = cache.lock().unwrap();
        assert_eq!(cache.names(), [".lock"]);
    }

    #[test]
    fn entry_of_another_part_is_not_found() {
        let (folder, cache) = cache();
        fs::create_dir(folder.path().join("containerd-2.1_x")).unwrap();
        assert_eq!(cache.find("containerd"), None);
        assert!(cache.find("containerd-2.1").is_some());
    }
}
