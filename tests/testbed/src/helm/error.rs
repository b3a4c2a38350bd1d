//! Failures of Helm.

use std::fmt;

use serde_json::Value;

use crate::error::Error;

/// Reason why a call of Helm returned no result.
#[derive(Debug, thiserror::Error)]
pub enum HelmError {
    /// Helm failed; the text is all that it printed.
    #[error("{0}")]
    Refused(String),
    /// Helm succeeded with output of another form.
    #[error("expected {expected} from Helm, found: {found}")]
    Unexpected {
        /// Expected part of the output.
        expected: &'static str,
        /// The output that was found instead.
        found: String,
    },
    /// Helm could not be started, or its files not be written.
    #[error(transparent)]
    Machine(#[from] Error),
}

impl HelmError {
    pub(super) fn unexpected(expected: &'static str, found: &impl fmt::Display) -> Self {
        Self::Unexpected { expected, found: found.to_string() }
    }
}

/// Parses the output of `--output=json`.
pub(super) fn json(text: &str) -> Result<Value, HelmError> {
    serde_json::from_str(text).map_err(|_| HelmError::unexpected("JSON", &text))
}
