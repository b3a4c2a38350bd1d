//! Refusal of a declaration.

use crate::diagnostic::Diagnostic;

/// A declaration that is not used, and why. Holds at least one error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclarationError {
    /// Errors, and the warnings found beside them.
    pub findings: Vec<Diagnostic>,
}

impl From<Diagnostic> for DeclarationError {
    fn from(finding: Diagnostic) -> Self {
        Self { findings: vec![finding] }
    }
}
