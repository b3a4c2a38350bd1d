//! Pauses between attempts on another cluster.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

/// Pauses that double up to a limit, each with a jitter of a quarter, so that clusters that were
/// lost together do not return together.
#[derive(Debug)]
pub struct AttemptBackoff {
    first: Duration,
    longest: Duration,
    failures: u32,
    random: RandomState,
}

impl AttemptBackoff {
    /// Returns pauses from `first` to `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0, random: RandomState::new() }
    }

    /// Begins again after a success.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// Returns the pause after one more failure.
    pub fn pause(&mut self) -> Duration {
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1);
        self.jittered(doubled.min(self.longest))
    }

    /// Returns a time between three quarters and five quarters of `time`.
    pub fn jittered(&self, time: Duration) -> Duration {
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
        let mut backoff = AttemptBackoff::new(Duration::from_secs(1), Duration::from_mins(5));
        for expected in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            let expected = Duration::from_secs(expected);
            let pause = backoff.pause();
            assert!(pause >= expected * 3 / 4 && pause <= expected * 5 / 4, "{pause:?}");
        }
        backoff.reset();
        assert!(backoff.pause() <= Duration::from_secs(1) * 5 / 4);
    }

    #[test]
    fn failures_without_end_keep_the_longest_pause() {
        let longest = Duration::from_mins(5);
        let mut backoff = AttemptBackoff::new(Duration::from_secs(1), longest);
        backoff.failures = u32::MAX;
        assert!(backoff.pause() <= longest * 5 / 4);
    }
}
