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
