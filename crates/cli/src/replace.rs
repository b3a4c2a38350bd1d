//! Replacing a file as a whole or not at all.

use std::{fs, io, io::Write, path::Path};

/// Gives the file `path` the content `text`. Whoever reads it meets the old or
/// the new content, also after a crash; its mode stays, and so does its owner
/// where the system allows it. A symbolic link stays one: its target is replaced.
///
/// # Errors
/// If a file in the same directory cannot be made and renamed; the old content
/// is in place then.
pub(crate) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let path = fs::canonicalize(path)?;
    let directory = path.parent().unwrap_or(&path);
    let metadata = fs::metadata(&path)?;
    let mut file = tempfile::Builder::new().prefix(".image-swap-").tempfile_in(directory)?;
    file.write_all(text)?;
    keep_owner(file.path(), &metadata);
    // After the owner: changing that clears some bits of the mode.
    file.as_file().set_permissions(metadata.permissions())?;
    file.as_file().sync_all()?;
    file.persist(&path).map_err(|error| error.error)?;
    sync(directory)
}

/// Makes `path` a file with the content `text` and the permissions `mode`,
/// whatever was there before.
///
/// # Errors
/// As [`replace`].
pub(crate) fn with_mode(path: &Path, text: &[u8], mode: u32) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    // Readable by nobody else from its first moment.
    let mut file = tempfile::Builder::new().prefix(".image-swap-").tempfile_in(directory)?;
    file.write_all(text)?;
    set_mode(file.as_file(), mode)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    sync(directory)
}

#[cfg(unix)]
fn set_mode(file: &fs::File, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn set_mode(_: &fs::File, _: u32) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn keep_owner(path: &Path, metadata: &fs::Metadata) {
    use std::os::unix::fs::{MetadataExt, chown};
    // Only root may give files away; for anyone else the owner is the same already,
    // or the file is another's and they may replace it, but not in that one's name.
    let _ = chown(path, Some(metadata.uid()), Some(metadata.gid()));
}

/// A rename is on disk when its directory is.
#[cfg(unix)]
fn sync(directory: &Path) -> io::Result<()> {
    fs::File::open(directory)?.sync_all()
}

#[cfg(not(unix))]
fn keep_owner(_: &Path, _: &fs::Metadata) {}

#[cfg(not(unix))]
fn sync(_: &Path) -> io::Result<()> {
    Ok(())
}
