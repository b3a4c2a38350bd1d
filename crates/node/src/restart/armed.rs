//! What the guard is told, on disk for as long as it is armed: where it is killed
//! too, whoever comes next does what it would have done.

use std::io;

use super::{guard::put_back, order::Order};
use crate::{
    Host, HostPath,
    apply::Progress,
    host::{Access, read as read_file, remove as remove_file, replace},
};

/// Where it lies. There may be credentials in it: those of the files that are changed.
pub(crate) fn path() -> HostPath {
    Host::state().join("armed.json")
}

pub(super) fn write(host: &Host, order: &Order) -> io::Result<()> {
    let bytes = serde_json::to_vec(order)?;
    replace(&host.at(&path())?, &bytes, Access::ours(0o600))
}

/// The change is good, or is taken back: which of both is decided by who comes first.
pub(super) fn remove(host: &Host) -> io::Result<()> {
    remove_file(&host.at(&path())?)
}

pub(super) fn read(host: &Host) -> io::Result<Option<Order>> {
    let Some(bytes) = read_file(&host.at(&path())?)? else { return Ok(None) };
    // serde's messages quote what they found, which may be a credential.
    let unreadable = |error: serde_json::Error| {
        let (line, column) = (error.line(), error.column());
        io::Error::other(format!(
            "what another one wrote (line {line}, column {column}): use that one, or move it away \
             and run `image-swap node restore`"
        ))
    };
    serde_json::from_slice(&bytes).map(Some).map_err(unreadable)
}

/// Takes back what a change and its guard left when both were killed; `command` is
/// run to restart the runtime, else the one that they would have run.
pub(crate) fn resume(host: &Host, command: Option<&str>, told: Progress<'_>) -> Result<(), String> {
    let order =
        read(host).map_err(|error| format!("{}: expected to read it, found {error}", path()))?;
    let Some(order) = order else { return Ok(()) };
    told("a change that was killed half way is taken back first");
    put_back(host, &order.on(host, command))?.iter().for_each(|stays| told(stays));
    Ok(())
}

impl Host {
    /// Whether a change was killed half way, together with the process that takes it
    /// back, and nobody is at work: the next change takes it back first.
    pub fn is_interrupted(&self) -> bool {
        self.at(&path()).is_ok_and(|path| path.exists()) && !self.is_locked()
    }
}
