//! Waiting for a condition, not for a time.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::error::Error;

/// Between two looks: short beside what is waited for, long beside a look.
const PAUSE: Duration = Duration::from_millis(50);

/// Looks until `look` gives `Ok(value)`, at most for `deadline`.
///
/// `look` says by `Err(Ok(seen))` what is there instead, and by
/// `Err(Err(error))` that waiting is in vain.
///
/// # Errors
/// [`Error::Deadline`] with what was seen last, or the error of `look`.
pub fn until<T>(
    what: &str,
    deadline: Duration,
    mut look: impl FnMut() -> Result<T, Result<String, Error>>,
) -> Result<T, Error> {
    let start = Instant::now();
    loop {
        let last = match look() {
            Ok(value) => return Ok(value),
            Err(Err(error)) => return Err(error),
            Err(Ok(seen)) => seen,
        };
        if start.elapsed() >= deadline {
            return Err(Error::Deadline { what: what.into(), seconds: deadline.as_secs(), last });
        }
        thread::sleep(PAUSE);
    }
}
