//! A text that is never printed.

use std::fmt;

/// A user name or a password. `Debug` shows whether there is one, and no more;
/// there is no `Display`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credential(String);

impl Credential {
    pub(super) const fn new(text: String) -> Self {
        Self(text)
    }

    /// Whether none was declared.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text itself: only for what is sent to the registry it was declared for.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "none" } else { "redacted" })
    }
}
