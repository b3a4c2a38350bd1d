//! The time.

use std::time::{SystemTime, UNIX_EPOCH};

use image_swap_core::declaration::UnixTime;
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
