//! Why a host is left as it is.

use crate::Case;

/// Nothing was planned: what was found where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found}; {remedy}")]
pub struct Refusal {
    /// A word for programs, such as `colon-list-in-use`: the row of docs/nodes.md.
    pub case: &'static str,
    /// What was expected, what was found, and where.
    pub found: String,
    /// What to do.
    pub remedy: String,
}

impl Refusal {
    pub(crate) fn new(case: &'static Case, found: impl Into<String>) -> Self {
        Self { case: case.name, found: found.into(), remedy: case.words.to_owned() }
    }
}
