//! Secret texts that are never printed.

use std::fmt;

/// A user name or a password. `Debug` only shows if it is empty; there is no `Display`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credential(String);

impl Credential {
    pub(super) const fn new(text: String) -> Self {
        Self(text)
    }

    /// Returns true if none was declared.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the text itself, to be sent only to the registries that it was declared for.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "none" } else { "redacted" })
    }
}
