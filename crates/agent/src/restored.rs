//! The restoration of a host by its files alone.

use std::path::Path;

use image_swap_node::{ContainerRuntime, HostEntry, HostFiles, Ledger};

use crate::{
    node::{host, restore_host},
    restart,
    status::{HostOutcome, HostReport},
};

/// A directory that every host has, and that a container has only if a directory below it is
/// mounted.
const ABOVE_STATE: &str = "/var/lib";

/// A host without edits of image-swap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoredHost {
    /// Runtime that image-swap had configured; `None` if it had not changed the host.
    pub runtime: Option<ContainerRuntime>,
    /// Command that an administrator runs on the host to complete the restoration; `None` if it
    /// is complete.
    pub command: Option<String>,
    /// Notes for an administrator.
    pub notes: Vec<String>,
}

/// The reason why a host was not restored. The host is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot restore this host: {reason}{}", remedy(self.command.as_deref()))]
pub struct RestoreRefusal {
    /// Reason and remedy.
    pub reason: String,
    /// Command that restores the host; `None` if the reason names a remedy.
    pub command: Option<String>,
}

/// Returns the end of a message that names `command`.
fn remedy(command: Option<&str>) -> String {
    command.map_or_else(String::new, |command| format!("; run on the host: {command}"))
}

impl RestoredHost {
    /// Restores the host whose directories are mounted below `root`. The ledger of the host names
    /// the runtime. No program is run, no socket is opened, and nothing is restarted.
    ///
    /// # Errors
    /// The reason why the host stays as it is.
    pub fn restore(root: &Path) -> Result<Self, RestoreRefusal> {
        let refused = |reason| RestoreRefusal { reason, command: None };
        // Its order would be applied again.
        host(root).and_then(|host| restart::forget(&host)).map_err(refused)?;
        let Some(runtime) = configured(root).map_err(refused)? else {
            return Ok(Self { runtime: None, command: None, notes: Vec::new() });
        };
        let HostReport { outcome, command, notes, .. } = restore_host(root, runtime);
        let reason = match outcome {
            HostOutcome::Restored => return Ok(Self { runtime: Some(runtime), command, notes }),
            HostOutcome::RestartRequired(reason) => format!("{reason}; agents restart nothing"),
            HostOutcome::Refused { case, found } => format!("{case}: {found}"),
            HostOutcome::Failed(reason) => reason,
            other => format!("unexpected outcome {other:?}"),
        };
        Err(RestoreRefusal { reason, command })
    }
}

/// Returns the runtime that image-swap configured on the host below `root`; `None` if it changed
/// nothing there.
///
/// # Errors
/// If the ledger cannot be read, or its directory is not mounted.
fn configured(root: &Path) -> Result<Option<ContainerRuntime>, String> {
    let host = host(root)?;
    if !matches!(host.stat(&ABOVE_STATE.into()), HostEntry::Directory(_)) {
        let path = Ledger::path();
        let root = root.display();
        return Err(format!(
            "cannot read {path}: there is no {ABOVE_STATE} below {root}; mount the directory of \
             the host there"
        ));
    }
    let mut files = HostFiles::default();
    files.insert(Ledger::path(), host.stat(&Ledger::path()));
    if let Some(HostEntry::Other(reason)) = files.get(&Ledger::path()) {
        return Err(format!("cannot read {}: {reason}", Ledger::path()));
    }
    let ledger = Ledger::read(&files).map_err(|error| error.to_string())?;
    ledger.map(|ledger| ledger.runtime.parse()).transpose().map_err(|expected: String| {
        format!("cannot read the runtime in {}: {expected}", Ledger::path())
    })
}
