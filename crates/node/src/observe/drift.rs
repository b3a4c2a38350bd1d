//! What became of what we wrote.

use crate::{
    desired::ConfigForm,
    files::{HostEntry, HostPath},
    ledger::LedgerError,
    observed::ObservedHost,
};

/// What became of what we wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// How the runtime was told.
    pub form: ConfigForm,
    /// Every file that we wrote, and how it is now.
    pub files: Vec<(HostPath, DriftState)>,
}

/// How a file of ours is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriftState {
    /// As we wrote it.
    AsWritten,
    /// Somebody changed it.
    Changed,
    /// Somebody took it away.
    Gone,
}

/// How everything is that we wrote; `None`: nothing was written.
///
/// # Errors
/// If there is a ledger that cannot be read.
pub fn drift(observed: &ObservedHost) -> Result<Option<Drift>, LedgerError> {
    let Some(ledger) = observed.ledger()? else { return Ok(None) };
    let files = ledger.files.keys().map(|path| {
        let standing = match observed.files.file(path) {
            Some(file) if ledger.is_ours(path, &file.bytes) => DriftState::AsWritten,
            Some(_) => DriftState::Changed,
            None if matches!(observed.files.get(path), Some(HostEntry::Other(_))) => {
                DriftState::Changed
            }
            None => DriftState::Gone,
        };
        (path.clone(), standing)
    });
    Ok(Some(Drift { form: ledger.form, files: files.collect() }))
}
