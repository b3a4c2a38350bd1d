//! Atomic replacement of files.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::Path,
};

/// Replaces the content of the file `path` by `text`. Readers see the old or the new
/// content, also after a crash. The mode is kept, and the owner too if the system allows it. A
/// symbolic link is kept: its target is replaced.
///
/// # Errors
/// If a file in the same directory cannot be made and renamed; the old content
/// is in place then.
pub(crate) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let path = fs::canonicalize(path)?;
    let metadata = fs::metadata(&path)?;
    put(&path, text, metadata.permissions(), Some((metadata.uid(), metadata.gid())))
}

/// Writes the file `path` with the content `text` and the permissions `mode`. Replaces an
/// existing one.
///
/// # Errors
/// As [`replace`].
pub(crate) fn with_mode(path: &Path, text: &[u8], mode: u32) -> io::Result<()> {
    put(path, text, fs::Permissions::from_mode(mode), None)
}

/// Writes a file beside `path`, which only its owner can read at first, and renames it.
fn put(
    path: &Path,
    text: &[u8],
    permissions: fs::Permissions,
    owner: Option<(u32, u32)>,
) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".image-swap-").tempfile_in(directory)?;
    file.write_all(text)?;
    if let Some((user, group)) = owner {
        // Only root may give files away. Others own the file already, or may replace it only
        // in their own name.
        let _ = chown(file.path(), Some(user), Some(group));
    }
    // After the owner: changing that clears some bits of the mode.
    file.as_file().set_permissions(permissions)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    // A rename is on disk when its directory is.
    File::open(directory)?.sync_all()
}
