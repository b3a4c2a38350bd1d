//! Why a verb gave no answer.

use std::{fmt, io, path::Path};

/// What went wrong, and with it the exit code.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The call or the declaration cannot be used: 2.
    Unusable(String),
    /// The work could not be done: 1.
    Broken(String),
    /// The reader of our output went away: 0, and nothing to say.
    BrokenPipe,
}

impl Failure {
    /// Returns the failure of work that ended with `error`.
    #[expect(clippy::needless_pass_by_value, reason = "for map_err")]
    pub(crate) fn broken(error: impl ToString) -> Self {
        Self::Broken(error.to_string())
    }

    /// A file that could not be read or written.
    pub(crate) fn file(doing: &str, path: &Path, error: &io::Error) -> String {
        format!("{}: expected to {doing} it, found: {error}", path.display())
    }
}

/// Output that cannot be written.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::BrokenPipe;
        }
        Self::Broken(format!("expected to write the output, found: {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable(message) | Self::Broken(message) => f.write_str(message),
            Self::BrokenPipe => Ok(()),
        }
    }
}
