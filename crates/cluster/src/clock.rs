//! The time.

use std::time::{SystemTime, UNIX_EPOCH};

use image_swap_core::declaration::UnixTime;
use k8s_openapi::jiff::Timestamp;
use tracing::warn;

/// The time by this machine's clock.
pub(crate) fn now() -> UnixTime {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or_else(
        |_| {
            warn!("the clock stands before 1970");
            0
        },
        |since| since.as_secs(),
    )
}

/// A time as people read it (RFC 3339, UTC).
pub(crate) fn written(time: UnixTime) -> String {
    let seconds = i64::try_from(time).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).map_or_else(|_| "never".to_owned(), |it| it.to_string())
}
