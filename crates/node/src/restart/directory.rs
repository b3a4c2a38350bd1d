//! The directory of an order: `order.json`, `result.json`, the program and its log.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use image_swap_core::status::{RestartFileError, RestartOrder, RestartResult};

use crate::{
    files::HostPath,
    host::{
        Host,
        write::{Access, clean, install, make_directory, read, remove, remove_directory, replace},
    },
};

/// A program of hosts with systemd, whose `SELinux` label systemd may run.
const LABELLED: &str = "/usr/bin/systemd-run";

/// The directory of an order on a host. Its files belong to root, and no other user reads them.
#[derive(Clone, Copy, Debug)]
pub struct RestartDirectory<'a> {
    host: &'a Host,
}

/// The exclusive right to run a host process.
#[derive(Debug)]
pub(super) struct RestartLock {
    _directory: File,
}

/// The reason why a file of the directory cannot be used. Quotes no content of the file.
#[derive(Debug, thiserror::Error)]
pub enum RestartDirectoryError {
    /// The kernel refused an operation.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// The operation that failed.
        doing: &'static str,
        /// The file or directory.
        path: HostPath,
        /// The error of the kernel.
        source: io::Error,
    },
    /// The file has another form.
    #[error("cannot read {path}: {source}")]
    Form {
        /// The file.
        path: HostPath,
        /// The position of the error.
        source: RestartFileError,
    },
}

/// Returns the path of the directory.
fn directory() -> HostPath {
    Host::state().parent().unwrap_or_else(Host::state).join("restart")
}

/// Returns the path of the order.
pub(super) fn order() -> HostPath {
    directory().join("order.json")
}

fn result() -> HostPath {
    directory().join("result.json")
}

/// Returns the path of the program's copy.
pub(super) fn program() -> HostPath {
    directory().join("image-swap")
}

/// Returns the path of the log of a host process without systemd.
pub(super) fn log() -> HostPath {
    directory().join("restart.log")
}

impl<'a> RestartDirectory<'a> {
    /// Returns the directory of `host`.
    pub const fn new(host: &'a Host) -> Self {
        Self { host }
    }

    /// Returns the order; `None` if there is none.
    ///
    /// # Errors
    /// If the order cannot be read.
    pub fn order(self) -> Result<Option<RestartOrder>, RestartDirectoryError> {
        self.read(order(), RestartOrder::parse)
    }

    /// Writes `order`, unless it is there already.
    ///
    /// # Errors
    /// If the order cannot be written.
    pub fn write_order(self, order: &RestartOrder) -> Result<(), RestartDirectoryError> {
        if matches!(self.order(), Ok(Some(known)) if known == *order) {
            return Ok(());
        }
        let path = directory();
        let made = self.host.at(&path).and_then(|place| make_directory(&place, 0o700));
        made.map_err(failed("make the directory", path))?;
        self.write(self::order(), &order.text())
    }

    /// Returns the result of the order `number`; `None` if there is none yet.
    ///
    /// # Errors
    /// If the result cannot be read.
    pub fn result(self, number: u64) -> Result<Option<RestartResult>, RestartDirectoryError> {
        let result = self.read(result(), RestartResult::parse)?;
        Ok(result.filter(|result| result.number == number))
    }

    /// Writes `result`. The directory exists, unless the agent has removed it.
    pub(super) fn write_result(self, result: &RestartResult) -> Result<(), RestartDirectoryError> {
        self.write(self::result(), &result.text())
    }

    /// Removes the result of an earlier attempt.
    pub(super) fn remove_result(self) -> Result<(), RestartDirectoryError> {
        self.remove_file(result())
    }

    /// Installs a copy of this program.
    pub(super) fn install(self) -> Result<(), RestartDirectoryError> {
        let path = program();
        let installed = self.host.at(&path).and_then(|place| {
            let like = self.host.at(&LABELLED.into())?;
            install(&place, Path::new("/proc/self/exe"), &like)
        });
        installed.map_err(failed("write", path))
    }

    /// Removes the copy of the program.
    pub(super) fn remove_program(self) -> Result<(), RestartDirectoryError> {
        let path = program();
        let cleaned = self.host.at(&path).and_then(|place| clean(&place));
        cleaned.map_err(failed("remove the unfinished copy of", path.clone()))?;
        self.remove_file(path)
    }

    /// Removes the order and the program. The result stays: a pod may wait for it.
    ///
    /// # Errors
    /// If a file cannot be removed.
    pub fn withdraw(self) -> Result<(), RestartDirectoryError> {
        if !self.exists()? {
            return Ok(());
        }
        let path = order();
        let cleaned = self.host.at(&path).and_then(|place| clean(&place));
        cleaned.map_err(failed("remove the unfinished copy of", path.clone()))?;
        self.remove_file(path)?;
        self.remove_program()
    }

    /// Removes the directory, and the one above it if that is empty. A running host process
    /// applies nothing then, unless it has begun to change the host.
    ///
    /// # Errors
    /// If the directory cannot be removed.
    pub fn remove(self) -> Result<(), RestartDirectoryError> {
        if !self.exists()? {
            return Ok(());
        }
        let place = self.place()?;
        let removed = match fs::remove_dir_all(&place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => place.parent().map_or(Ok(()), |above| remove_directory(above).map(drop)),
        };
        removed.map_err(failed("remove", directory()))
    }

    /// Takes the right to run a host process; `None` if another process has it.
    pub(super) fn try_lock(self) -> Result<Option<RestartLock>, RestartDirectoryError> {
        let tried = File::open(self.place()?).and_then(|directory| match directory.try_lock() {
            Ok(()) => Ok(Some(RestartLock { _directory: directory })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        });
        tried.map_err(failed("lock", directory()))
    }

    /// Takes the right to run a host process, and waits for it.
    pub(super) fn lock(self) -> Result<RestartLock, RestartDirectoryError> {
        let locked = File::open(self.place()?).and_then(|directory| {
            directory.lock()?;
            Ok(RestartLock { _directory: directory })
        });
        locked.map_err(failed("lock", directory()))
    }

    /// Returns true if a host process runs, or is being started.
    pub(super) fn is_locked(self) -> bool {
        let directory = self.place().ok().and_then(|place| File::open(place).ok());
        directory.is_some_and(|directory| {
            matches!(directory.try_lock_shared(), Err(TryLockError::WouldBlock))
        })
    }

    fn exists(self) -> Result<bool, RestartDirectoryError> {
        match fs::symlink_metadata(self.place()?) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed("read", directory())(error)),
        }
    }

    /// Returns the location of the directory. A link at its place is not followed.
    fn place(self) -> Result<PathBuf, RestartDirectoryError> {
        let path = directory();
        self.host.path_without_following(&path).map_err(failed("find", path))
    }

    fn read<T>(
        self,
        path: HostPath,
        parse: fn(&[u8]) -> Result<T, RestartFileError>,
    ) -> Result<Option<T>, RestartDirectoryError> {
        let bytes = self.host.at(&path).and_then(|place| read(&place));
        match bytes {
            Ok(None) => Ok(None),
            Ok(Some(bytes)) => parse(&bytes)
                .map(Some)
                .map_err(|source| RestartDirectoryError::Form { path, source }),
            Err(source) => Err(failed("read", path)(source)),
        }
    }

    fn write(self, path: HostPath, text: &str) -> Result<(), RestartDirectoryError> {
        let replaced = self
            .host
            .at(&path)
            .and_then(|place| replace(&place, text.as_bytes(), Access::own(0o600)));
        replaced.map_err(failed("write", path))
    }

    fn remove_file(self, path: HostPath) -> Result<(), RestartDirectoryError> {
        let removed = self.host.at(&path).and_then(|place| remove(&place));
        removed.map_err(failed("remove", path))
    }
}

/// Adds the failed operation to an I/O error.
fn failed(doing: &'static str, path: HostPath) -> impl FnOnce(io::Error) -> RestartDirectoryError {
    move |source| RestartDirectoryError::Io { doing, path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use image_swap_core::{control::effective::Origin, mirror::Fallback, status::RestartOutcome};

    use super::*;
    use crate::host::root::Root;

    fn host() -> (tempfile::TempDir, Host) {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(Root::new(root.path()).unwrap());
        (root, host)
    }

    fn order() -> RestartOrder {
        RestartOrder {
            number: 7,
            origin: Origin::Chart,
            declaration: "s3cret".into(),
            fallback: Fallback::Upstream,
            runtime: "containerd".into(),
        }
    }

    #[test]
    fn names_of_the_files_never_change() {
        let names = [super::order(), super::result(), program(), log()];
        let expected = ["order.json", "result.json", "image-swap", "restart.log"];
        for (name, expected) in names.iter().zip(expected) {
            assert_eq!(name.as_str(), format!("/var/lib/image-swap/restart/{expected}"));
        }
    }

    #[test]
    fn order_is_private_and_withdrawn() {
        let (root, host) = host();
        let directory = RestartDirectory::new(&host);
        assert_eq!(directory.order().unwrap(), None);
        directory.withdraw().unwrap();
        directory.remove().unwrap();
        assert!(!root.path().join("var").exists());

        directory.write_order(&order()).unwrap();
        assert_eq!(directory.order().unwrap(), Some(order()));
        let at = |name: &str| root.path().join("var/lib/image-swap/restart").join(name);
        let mode = |name: &str| fs::metadata(at(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(""), mode("order.json")), (0o700, 0o600));
        let inode =
            || std::os::unix::fs::MetadataExt::ino(&fs::metadata(at("order.json")).unwrap());
        let before = inode();
        directory.write_order(&order()).unwrap();
        assert_eq!(inode(), before);

        directory.install().unwrap();
        assert_eq!(mode("image-swap"), 0o700);
        let outcome = RestartOutcome::Refused;
        let result = RestartResult { number: 7, outcome, message: "m".into() };
        directory.write_result(&result).unwrap();
        assert_eq!(directory.result(7).unwrap(), Some(result.clone()));
        assert_eq!(directory.result(8).unwrap(), None);
        directory.withdraw().unwrap();
        assert!(!at("order.json").exists() && !at("image-swap").exists());
        assert_eq!(directory.result(7).unwrap(), Some(result));
        directory.remove().unwrap();
        assert!(!root.path().join("var/lib/image-swap").exists());
    }

    #[test]
    fn error_quotes_no_content() {
        let (root, host) = host();
        let directory = RestartDirectory::new(&host);
        directory.write_order(&order()).unwrap();
        let path = root.path().join("var/lib/image-swap/restart/order.json");
        fs::write(&path, r#"{"number":"s3cret"}"#).unwrap();
        let error = directory.order().unwrap_err().to_string();
        assert!(error.contains("order.json") && !error.contains("s3cret"), "{error}");
        // An order of another form is replaced.
        directory.write_order(&order()).unwrap();
        assert_eq!(directory.order().unwrap(), Some(order()));
    }

    #[test]
    fn one_process_has_the_lock() {
        let (_root, host) = host();
        let directory = RestartDirectory::new(&host);
        assert!(!directory.is_locked());
        directory.write_order(&order()).unwrap();
        let lock = directory.try_lock().unwrap().unwrap();
        assert!(directory.is_locked());
        assert!(directory.try_lock().unwrap().is_none());
        drop(lock);
        assert!(!directory.is_locked());
        drop(directory.lock().unwrap());
    }
}
