//! One cluster at a time on a machine.

use std::fs::File;

use crate::{cache::Cache, error::Error};

/// The turn of one test to run a whole cluster.
///
/// Whole clusters side by side slow each other down on a small machine. Every test that
/// starts one takes its turn first and keeps the value until the cluster has ended. The
/// kernel ends the turn with the process, so a killed test blocks no other.
#[derive(Debug)]
pub struct Turn {
    _lock: File,
}

impl Turn {
    /// Waits until no other test has its turn.
    ///
    /// # Errors
    /// There is no cache folder, or the lock file cannot be written.
    pub fn take() -> Result<Self, Error> {
        Self::at(".turn.lock")
    }

    /// Waits until no other process runs the infrastructure provider of Cluster API, which listens
    /// on a fixed port.
    pub(crate) fn of_cluster_api() -> Result<Self, Error> {
        Self::at(".cluster-api.lock")
    }

    /// Locks a file of the cache folder.
    fn at(name: &str) -> Result<Self, Error> {
        let path = Cache::open()?.path().join(name);
        let lock = File::create(&path).map_err(Error::io(format!("write {}", path.display())))?;
        lock.lock().map_err(Error::io(format!("wait for {}", path.display())))?;
        Ok(Self { _lock: lock })
    }
}
