//! A status that `--watch` prints.

use serde::Serialize;

/// A status that can be printed at each change.
pub(crate) trait WatchedStatus: Serialize + Clone {
    /// Returns the status as text, with colours.
    fn text(&self) -> String;

    /// Returns true if `other` need not be printed after this status.
    fn is_like(&self, other: &Self) -> bool;

    /// Returns true if the exit code is 0.
    fn is_healthy(&self) -> bool;
}
