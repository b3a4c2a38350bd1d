//! Failures of commands, and their exit codes.

use std::{fmt, io, path::Path};

/// The failure of a command. It determines the exit code.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Wrong usage or an invalid declaration: 2.
    Unusable(String),
    /// The command failed: 1.
    Broken(String),
    /// The reader of the output closed it: 0, without a message.
    BrokenPipe,
}

impl Failure {
    /// Returns the failure of work that ended with `error`.
    #[expect(clippy::needless_pass_by_value, reason = "for map_err")]
    pub(crate) fn broken(error: impl ToString) -> Self {
        Self::Broken(error.to_string())
    }

    /// Returns the failure of a command that `error` makes unusable.
    #[expect(clippy::needless_pass_by_value, reason = "for map_err")]
    pub(crate) fn unusable(error: impl ToString) -> Self {
        Self::Unusable(error.to_string())
    }

    /// Returns the message for a file that cannot be read, written or replaced: `doing`.
    pub(crate) fn file(doing: &str, path: &Path, error: &io::Error) -> String {
        format!("cannot {doing} {}: {}", path.display(), reason(error))
    }
}

/// Returns the message of `error` without the number of the system's error.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error ").next().unwrap_or_default();
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(characters).collect()
}

/// Failures to write the output.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::BrokenPipe;
        }
        Self::Broken(format!("cannot write the output: {}", reason(&error)))
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
