//! Rejection of a declaration.

use crate::diagnostic::Diagnostic;

/// Rejection of a declaration, with the reasons. Contains at least one error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclarationError {
    /// The errors, and the warnings found with them.
    pub findings: Vec<Diagnostic>,
}

impl From<Diagnostic> for DeclarationError {
    fn from(finding: Diagnostic) -> Self {
        Self { findings: vec![finding] }
    }
}
