//! Pauses between attempts on a workload cluster.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

use super::settings::FleetTiming;

/// Pauses that double up to a limit, each with a jitter of a quarter, so that clusters that were
/// lost together do not return together.
#[derive(Debug)]
pub(super) struct AttemptBackoff {
    first: Duration,
    longest: Duration,
    failures: u32,
    random: RandomState,
}

impl AttemptBackoff {
    pub(super) fn new(timing: &FleetTiming) -> Self {
        Self {
            first: timing.first_pause,
            longest: timing.longest_pause,
            failures: 0,
            random: RandomState::new(),
        }
    }

    /// Begins again after a success.
    pub(super) const fn reset(&mut self) {
        self.failures = 0;
    }

    /// Returns the pause after one more failure.
    pub(super) fn next(&mut self) -> Duration {
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1);
        self.jittered(doubled.min(self.longest))
    }

    /// Returns a time between three quarters and five quarters of `time`.
    pub(super) fn jittered(&self, time: Duration) -> Duration {
        let random = self.random.hash_one((self.failures, time)) % 1001;
        let random = u32::try_from(random).unwrap_or_default();
        time * 3 / 4 + time / 2 * random / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit() {
        let timing = FleetTiming::default();
        let mut backoff = AttemptBackoff::new(&timing);
        for expected in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            let expected = Duration::from_secs(expected);
            let pause = backoff.next();
            assert!(pause >= expected * 3 / 4 && pause <= expected * 5 / 4, "{pause:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= timing.first_pause * 5 / 4);
    }

    #[test]
    fn failures_without_end_keep_the_longest_pause() {
        let timing = FleetTiming::default();
        let mut backoff = AttemptBackoff { failures: u32::MAX, ..AttemptBackoff::new(&timing) };
        assert!(backoff.next() <= timing.longest_pause * 5 / 4);
    }
}
