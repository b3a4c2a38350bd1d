//! Waiting for a condition, not for a time.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::error::Error;

/// The time between two checks: shorter than typical waits, longer than one check.
const PAUSE: Duration = Duration::from_millis(50);

/// The reason why an awaited state is not reached.
#[derive(Debug)]
pub enum Wait {
    /// The state is not reached yet; contains the present state.
    NotYet(String),
    /// The state cannot be reached any more.
    Failed(Error),
}

impl From<Error> for Wait {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Calls `look` until it succeeds, for at most `deadline`. Returns its value.
///
/// # Errors
/// [`Error::Deadline`] with the last seen state, or the error of `look`.
pub fn until<T>(
    what: &str,
    deadline: Duration,
    mut look: impl FnMut() -> Result<T, Wait>,
) -> Result<T, Error> {
    let start = Instant::now();
    loop {
        let last = match look() {
            Ok(value) => return Ok(value),
            Err(Wait::Failed(error)) => return Err(error),
            Err(Wait::NotYet(seen)) => seen,
        };
        if start.elapsed() >= deadline {
            return Err(Error::Deadline { what: what.into(), seconds: deadline.as_secs(), last });
        }
        thread::sleep(PAUSE);
    }
}
