//! Changes of other tools to the files that image-swap wrote.

use crate::{
    desired::ConfigForm,
    files::{HostEntry, HostPath},
    ledger::LedgerError,
    observed::ObservedHost,
};

/// The present state of the files that image-swap wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// The form of the configuration.
    pub form: ConfigForm,
    /// Every file of the ledger, and its state.
    pub files: Vec<(HostPath, DriftState)>,
}

/// The state of a file of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriftState {
    /// The content that image-swap wrote.
    AsWritten,
    /// Another tool changed the file.
    Changed,
    /// Another tool removed the file.
    Gone,
}

/// Returns the state of the files of the ledger; `None` if there is no ledger.
///
/// # Errors
/// If there is a ledger that cannot be read.
pub fn drift(observed: &ObservedHost) -> Result<Option<Drift>, LedgerError> {
    let Some(ledger) = observed.ledger()? else { return Ok(None) };
    let files = ledger.files.keys().map(|path| {
        let standing = match (observed.files.file(path), observed.files.get(path)) {
            (Some(file), _) if ledger.has_written(path, &file.bytes) => DriftState::AsWritten,
            (Some(_), _) | (None, Some(HostEntry::Other(_))) => DriftState::Changed,
            (None, _) => DriftState::Gone,
        };
        (path.clone(), standing)
    });
    Ok(Some(Drift { form: ledger.form, files: files.collect() }))
}
