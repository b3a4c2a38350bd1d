//! Files that are there whole or not at all, whenever the power fails.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, Permissions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
};

use crate::host::attributes;

/// Owner and permissions of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    /// The permission bits of the file.
    pub(crate) mode: u32,
    /// User and group; `None` for those of image-swap.
    pub(crate) owner: Option<(u32, u32)>,
}

impl Access {
    /// Returns permissions of `mode` with the owner of the current process.
    pub(crate) const fn own(mode: u32) -> Self {
        Self { mode, owner: None }
    }

    /// Returns the access of the file `path`; `None` if there is no file.
    pub(crate) fn of(path: &Path) -> io::Result<Option<Self>> {
        let data = found(fs::symlink_metadata(path))?;
        Ok(data.map(|data| Self {
            mode: data.permissions().mode() & 0o7777,
            owner: Some((data.uid(), data.gid())),
        }))
    }
}

/// Returns the result of a call; `None` if the file does not exist.
fn found<T>(called: io::Result<T>) -> io::Result<Option<T>> {
    match called {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        called => called.map(Some),
    }
}

/// Returns the content of a file; `None` if there is no file.
pub(crate) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    found(fs::read(path))
}

/// Replaces the file `path` atomically by one with `bytes`. `path` is not a link, and its directory
/// exists.
pub(crate) fn replace(path: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
    stage(path, bytes, access)?.commit()
}

/// Copies the program `from` to `path` atomically, for root alone, with the `SELinux` label of the
/// file `like`: a service manager may not run a file with the label of a data directory.
pub(crate) fn install(path: &Path, from: &Path, like: &Path) -> io::Result<()> {
    let staged = Staged { unfinished: unfinished(path)?, path: path.to_owned() };
    found(fs::remove_file(&staged.unfinished))?;
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o700).open(&staged.unfinished)?;
    io::copy(&mut File::open(from)?, &mut file)?;
    attributes::copy_label(like, &file)?;
    file.sync_all()?;
    // The kernel runs no file that is open for writing.
    drop(file);
    staged.commit()
}

/// A file under another name, on disk, ready to take its place.
#[derive(Debug)]
#[must_use]
pub(crate) struct Staged {
    unfinished: PathBuf,
    path: PathBuf,
}

/// Writes the future content of `path` next to it. The commit then needs no further space.
pub(crate) fn stage(path: &Path, bytes: &[u8], access: Access) -> io::Result<Staged> {
    // Created first: its drop removes the file if a later step fails.
    let staged = Staged { unfinished: unfinished(path)?, path: path.to_owned() };
    fill(&staged.unfinished, bytes, access, path)?;
    Ok(staged)
}

impl Staged {
    /// Returns the path of the unfinished file.
    pub(crate) fn unfinished(&self) -> &Path {
        &self.unfinished
    }

    /// Renames the unfinished file to its final path.
    pub(crate) fn commit(self) -> io::Result<()> {
        fs::rename(&self.unfinished, &self.path)?;
        sync(parent(&self.path)?)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After a commit the file does not exist any more.
        let _ = fs::remove_file(&self.unfinished);
    }
}

/// Removes a file; one that is not there is removed.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    if found(fs::remove_file(path))?.is_some() { sync(parent(path)?) } else { Ok(()) }
}

/// Removes an empty directory. Returns false if it stays: it is not empty, a mount point, or in
/// a directory that is mounted read-only.
pub(crate) fn remove_directory(path: &Path) -> io::Result<bool> {
    match fs::remove_dir(path) {
        Ok(()) => sync(parent(path)?).map(|()| true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) if may_stay(error.kind()) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns true if a directory that cannot be removed because of `error` may stay: an empty
/// directory changes no runtime.
const fn may_stay(error: ErrorKind) -> bool {
    matches!(
        error,
        ErrorKind::DirectoryNotEmpty | ErrorKind::ResourceBusy | ErrorKind::ReadOnlyFilesystem
    )
}

/// Makes a directory and those above it.
pub(crate) fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if path.is_dir() {
        return Ok(());
    }
    let above = parent(path)?;
    make_directory(above, 0o755)?;
    match fs::DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync(above)
}

/// Removes the unfinished file of a killed run next to `path`.
pub(crate) fn clean(path: &Path) -> io::Result<()> {
    match found(fs::remove_file(unfinished(path)?)) {
        Err(error) if error.kind() != ErrorKind::NotADirectory => Err(error),
        _ => Ok(()),
    }
}

/// Writes the new file `path`, with the extended attributes of the file `like`.
fn fill(path: &Path, bytes: &[u8], access: Access, like: &Path) -> io::Result<()> {
    found(fs::remove_file(path))?;
    // No other user may read it from its first moment.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    if let Some((user, group)) = access.owner {
        let data = file.metadata()?;
        if (data.uid(), data.gid()) != (user, group) {
            fchown(&file, Some(user), Some(group))?;
        }
    }
    // After the owner: changing that clears some bits of the mode.
    file.set_permissions(Permissions::from_mode(access.mode))?;
    // After the mode: an access control list contains the group bits too.
    attributes::copy(like, &file, matches!(access.mode & 0o077, 0))?;
    file.sync_all()
}

/// Returns the name under which a file is written before it is renamed. The name is constant, so
/// that the file of a killed run is found; no runtime reads such names.
fn unfinished(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
    let mut unfinished = OsString::from(".");
    unfinished.push(name);
    unfinished.push(".image-swap");
    Ok(path.with_file_name(unfinished))
}

fn parent(path: &Path) -> io::Result<&Path> {
    path.parent().ok_or_else(|| ErrorKind::InvalidInput.into())
}

/// Syncs a directory, so that the names in it are on disk.
pub(crate) fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn directory_that_the_kernel_keeps_may_stay() {
        let kind = |error: Errno| io::Error::from(error).kind();
        for error in [Errno::NOTEMPTY, Errno::BUSY, Errno::ROFS] {
            assert!(may_stay(kind(error)), "{error}");
        }
        for error in [Errno::ACCESS, Errno::PERM, Errno::IO, Errno::NOTDIR] {
            assert!(!may_stay(kind(error)), "{error}");
        }
    }

    #[test]
    fn replaced_file_keeps_its_access() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/config.toml");
        make_directory(path.parent().unwrap(), 0o700).unwrap();
        assert_eq!(Access::of(&path).unwrap(), None);
        // A leftover of a killed run: a link, which must not be followed.
        std::os::unix::fs::symlink("/dev/null", unfinished(&path).unwrap()).unwrap();
        replace(&path, b"one", Access::own(0o640)).unwrap();
        let access = Access::of(&path).unwrap().unwrap();
        assert_eq!(access.mode, 0o640);
        replace(&path, b"two", access).unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), b"two");
        assert_eq!(Access::of(&path).unwrap(), Some(access));
        let names: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().flatten().collect();
        assert_eq!(names.len(), 1, "{names:?}");
        assert!(!remove_directory(path.parent().unwrap()).unwrap());
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert!(remove_directory(path.parent().unwrap()).unwrap());
    }
}
