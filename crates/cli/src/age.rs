//! Ages and durations, for people.

use crate::output::counted;

const MINUTE: u64 = 60;
/// Seconds of an hour.
pub(crate) const HOUR: u64 = 60 * MINUTE;
/// Seconds of a day.
pub(crate) const DAY: u64 = 24 * HOUR;

/// Returns the age of the time `then` at the time `now`, both in seconds since 1970.
pub(crate) fn ago(then: u64, now: u64) -> String {
    if then > now { "just now".to_owned() } else { format!("{} ago", span(now - then)) }
}

/// Returns a duration in the largest unit that fits into it.
pub(crate) fn span(seconds: u64) -> String {
    let (number, unit) = match seconds {
        DAY.. => (seconds / DAY, "day"),
        HOUR.. => (seconds / HOUR, "hour"),
        MINUTE.. => (seconds / MINUTE, "minute"),
        _ => (seconds, "second"),
    };
    counted(usize::try_from(number).unwrap_or(usize::MAX), unit)
}
