//! Refusal of a declaration.

use crate::finding::Finding;

/// A declaration that is not used, and why. Holds at least one error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Errors, and the warnings found beside them.
    pub findings: Vec<Finding>,
}

impl From<Finding> for Refused {
    fn from(finding: Finding) -> Self {
        Self { findings: vec![finding] }
    }
}
