//! A limit of whole clusters on a machine.

use std::fs::File;

use crate::{cache::Cache, error::Error};

/// Maximum number of whole clusters at the same time. Most of its time a cluster waits, and more
/// than two slow each other down on two processors. The test group `cluster` of cargo-nextest has
/// the same number.
const CLUSTERS: u8 = 2;

/// The turn of one test to run a whole cluster, or the controllers of Cluster API.
///
/// Every test that starts one takes a turn first and keeps the value until the cluster has ended.
/// The kernel ends the turn with the process, so a killed test blocks no other.
#[derive(Debug)]
pub struct Turn {
    _lock: File,
}

impl Turn {
    /// Waits until fewer than two other tests have a turn.
    ///
    /// # Errors
    /// There is no cache folder, or a lock file cannot be written.
    pub fn take() -> Result<Self, Error> {
        let folder = Cache::open()?.path().to_owned();
        let path = |number| folder.join(format!(".turn-{number}.lock"));
        let open = |number| {
            let path = path(number);
            File::create(&path).map_err(Error::io(format!("write {}", path.display())))
        };
        for number in 1..CLUSTERS {
            let lock = open(number)?;
            if lock.try_lock().is_ok() {
                return Ok(Self { _lock: lock });
            }
        }
        let lock = open(0)?;
        lock.lock().map_err(Error::io(format!("wait for {}", path(0).display())))?;
        Ok(Self { _lock: lock })
    }

    /// Waits until no other process runs the infrastructure provider of Cluster API, which listens
    /// on a fixed port.
    pub(crate) fn of_cluster_api() -> Result<Self, Error> {
        let path = Cache::open()?.path().join(".cluster-api.lock");
        let lock = File::create(&path).map_err(Error::io(format!("write {}", path.display())))?;
        lock.lock().map_err(Error::io(format!("wait for {}", path.display())))?;
        Ok(Self { _lock: lock })
    }
}
