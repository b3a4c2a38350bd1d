//! The lock of a host.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

/// The name of the file that is locked.
pub(super) const NAME: &str = "lock";

/// The exclusive right to change a host. A process that inherits the file holds the lock too, such
/// as the watchdog that rolls back if image-swap is killed.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Lock {
    /// Takes the lock; calls `waits` if another process has it.
    pub(super) fn take(path: &Path, waits: impl FnOnce()) -> io::Result<Self> {
        let mut waits = Some(waits);
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    if let Some(waits) = waits.take() {
                        waits();
                    }
                    file.lock()?;
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // The process that had the lock may have removed the file.
            let same = |other: std::fs::Metadata| {
                file.metadata().is_ok_and(|own| own.ino() == other.ino())
            };
            if path.metadata().is_ok_and(same) {
                return Ok(Self(file));
            }
        }
    }

    /// Returns a copy for a child process.
    pub(crate) fn share(&self) -> io::Result<File> {
        self.0.try_clone()
    }
}

/// Returns true if a process has the lock.
pub(super) fn is_taken(path: &Path) -> bool {
    File::open(path)
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}
