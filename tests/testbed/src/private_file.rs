//! Files with keys and passwords in them.

use std::{fs::OpenOptions, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

use crate::error::Error;

/// Writes `content` to `path`, readable only by the owner.
pub(crate) fn write(path: &Path, content: &[u8]) -> Result<(), Error> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(content))
        .map_err(Error::io(format!("write {}", path.display())))
}
