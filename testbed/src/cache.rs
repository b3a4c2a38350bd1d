//! What was built or unpacked once, kept outside the checkout.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
};

use crate::error::Error;

/// `$IMAGE_SWAP_CACHE`, else `$XDG_CACHE_HOME/image-swap`, else `~/.cache/image-swap`.
///
/// Entries are directories named after what they hold and its version. They
/// are made under another name and renamed when whole, so that there is never
/// a half-made one.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

/// How half-made entries begin.
const PARTIAL: &str = ".partial-";

impl Cache {
    /// Finds the directory and makes it if need be.
    ///
    /// # Errors
    /// None of the three variables is set, or the directory cannot be made.
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

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The newest entry that is called `name`, or `name` and `_` and a version.
    pub(crate) fn find(&self, name: &str) -> Option<PathBuf> {
        let entries = fs::read_dir(&self.root).ok()?.flatten();
        entries
            .filter(|entry| {
                let found = entry.file_name();
                let rest = found.to_str().and_then(|found| found.strip_prefix(name));
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
            })
            .max_by_key(|entry| entry.metadata().and_then(|data| data.modified()).ok())
            .map(|entry| entry.path())
    }

    /// The entry `name`, made by `make` if it is not there. `make` gets an empty
    /// directory to fill and answers with the entry's full name and with what
    /// of the directory is the entry.
    ///
    /// Whoever else wants the same entry waits meanwhile.
    pub(crate) fn entry(
        &self,
        name: &str,
        make: impl FnOnce(&Path) -> Result<(String, PathBuf), Error>,
    ) -> Result<PathBuf, Error> {
        if let Some(entry) = self.find(name) {
            return Ok(entry);
        }
        let lock = self.root.join(format!(".{name}.lock"));
        let lock = File::create(&lock).map_err(Error::io(format!("write {}", lock.display())))?;
        lock.lock().map_err(Error::io(format!("wait for the lock of {name}")))?;
        if let Some(entry) = self.find(name) {
            return Ok(entry);
        }
        self.remove_interrupted(name);
        let partial = tempfile::Builder::new()
            .prefix(&format!("{PARTIAL}{name}-"))
            .tempdir_in(&self.root)
            .map_err(Error::io(format!("make a directory in {}", self.root.display())))?;
        let (full_name, whole) = make(partial.path())?;
        let entry = self.root.join(full_name);
        fs::rename(&whole, &entry).map_err(Error::io(format!("make {}", entry.display())))?;
        Ok(entry)
    }

    /// Removes what was left half-made. Only who holds the entry's lock may. An
    /// orphan of the interrupted work may still write: then it stays.
    fn remove_interrupted(&self, name: &str) {
        let prefix = format!("{PARTIAL}{name}-");
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(|found| found.starts_with(&prefix)) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}
