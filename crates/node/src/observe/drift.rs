//! What became of what we wrote.

use crate::{
    desired::Form,
    files::{Entry, HostPath},
    ledger::LedgerError,
    observed::Observed,
};

/// What became of what we wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// How the runtime was told.
    pub form: Form,
    /// Every file that we wrote, and how it is now.
    pub files: Vec<(HostPath, Standing)>,
}

/// How a file of ours is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
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
pub fn drift(observed: &Observed) -> Result<Option<Drift>, LedgerError> {
    let Some(ledger) = observed.ledger()? else { return Ok(None) };
    let files = ledger.files.keys().map(|path| {
        let standing = match observed.files.file(path) {
            Some(file) if ledger.is_ours(path, &file.bytes) => Standing::AsWritten,
            Some(_) => Standing::Changed,
            None if matches!(observed.files.get(path), Some(Entry::Other(_))) => Standing::Changed,
            None => Standing::Gone,
        };
        (path.clone(), standing)
    });
    Ok(Some(Drift { form: ledger.form, files: files.collect() }))
}
