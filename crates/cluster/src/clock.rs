//! The clock of this machine.

use image_swap_core::declaration::UnixTime;
use k8s_openapi::jiff::Timestamp;
use tracing::warn;

/// Returns the present time by the clock of this machine.
pub fn now() -> UnixTime {
    UnixTime::try_from(Timestamp::now().as_second()).unwrap_or_else(|_| {
        warn!("the system clock is before 1970");
        0
    })
}

/// Returns a time in the format of RFC 3339, in UTC.
pub fn written(time: UnixTime) -> String {
    let seconds = i64::try_from(time).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).map_or_else(|_| "never".to_owned(), |it| it.to_string())
}
