//! Waits between attempts.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::Duration,
};

use kube::runtime::utils::Backoff;

const FIRST: Duration = Duration::from_millis(100);
/// Agents of thousands of nodes may wait for one API server.
const LONGEST: Duration = Duration::from_secs(10);

/// Waits that double up to a limit. Each is shortened at random by up to a half, so that the
/// agents of a cluster do not send their requests at the same moment.
pub(crate) struct RetryBackoff {
    next: Duration,
}

impl Default for RetryBackoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Iterator for RetryBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST);
        // The keys of each state are random.
        let random = RandomState::new().build_hasher().finish() % 512;
        let part = u32::try_from(random).unwrap_or_default();
        Some(wait.saturating_sub(wait * part / 1024))
    }
}

impl Backoff for RetryBackoff {
    fn reset(&mut self) {
        self.next = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_the_limit() {
        let mut backoff = RetryBackoff::default();
        let mut limit = FIRST;
        for _ in 0..20 {
            let wait = backoff.next().unwrap();
            assert!(wait <= limit && wait > limit / 2, "{wait:?} {limit:?}");
            limit = (limit * 2).min(LONGEST);
        }
        backoff.reset();
        assert!(backoff.next().unwrap() <= FIRST);
    }
}
