//! Rate limits for reverting the changes of other writers.
//!
//! Without them, two programs that revert each other's changes would write as fast as they can.

use std::collections::BTreeMap;

use crate::declaration::UnixTime;

/// Number of repairs that may follow each other at once.
pub const BURST: u32 = 5;
/// Seconds until another repair is allowed.
pub const EVERY: UnixTime = 10;

/// Remaining allowance, and the number of repairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenBucket {
    left: u32,
    since: UnixTime,
    count: u64,
}

impl Default for TokenBucket {
    fn default() -> Self {
        Self { left: BURST, since: 0, count: 0 }
    }
}

impl TokenBucket {
    /// Counts a repair if one is allowed at `now`.
    ///
    /// # Errors
    /// Returns the seconds to wait if none is allowed.
    pub fn begin(&mut self, now: UnixTime) -> Result<(), UnixTime> {
        self.earn(now);
        if self.left == 0 {
            return Err(EVERY - (now - self.since));
        }
        self.left -= 1;
        self.count += 1;
        Ok(())
    }

    /// Returns true if the whole allowance remains at `now`.
    pub fn is_full(mut self, now: UnixTime) -> bool {
        self.earn(now);
        self.left == BURST
    }

    fn earn(&mut self, now: UnixTime) {
        // A clock that was set back adds no allowance, and delays repairs only briefly.
        self.since = self.since.min(now);
        let earned = (now - self.since) / EVERY;
        let left = u64::from(self.left).saturating_add(earned);
        if left >= u64::from(BURST) {
            self.left = BURST;
            self.since = now;
        } else {
            self.left = u32::try_from(left).unwrap_or(BURST);
            self.since += earned * EVERY;
        }
    }

    /// Returns the number of repairs since the beginning.
    pub const fn count(&self) -> u64 {
        self.count
    }
}

/// The last content that was written of each object, and the object's allowance for
/// writing the same content again.
#[derive(Clone, Debug)]
pub struct RewriteLimit<C> {
    objects: BTreeMap<String, (C, TokenBucket)>,
}

impl<C> Default for RewriteLimit<C> {
    fn default() -> Self {
        Self { objects: BTreeMap::new() }
    }
}

impl<C: PartialEq> RewriteLimit<C> {
    /// Allows a write of `content` to the object `name` at `now`. New content is always
    /// allowed. Content that was written before is a repair.
    ///
    /// # Errors
    /// Returns the seconds to wait if none is allowed.
    pub fn begin(&mut self, name: &str, content: &C, now: UnixTime) -> Result<(), UnixTime> {
        match self.objects.get_mut(name) {
            Some((written, repairs)) if written == content => repairs.begin(now),
            _ => Ok(()),
        }
    }

    /// Notes that `content` was written to the object `name`.
    pub fn finish(&mut self, name: &str, content: C) {
        match self.objects.get_mut(name) {
            Some((written, _)) => *written = content,
            None => {
                self.objects.insert(name.to_owned(), (content, TokenBucket::default()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn burst_is_repaired_at_once_then_slowly() {
        let mut repairs = TokenBucket::default();
        for _ in 0..BURST {
            assert_eq!(repairs.begin(1000), Ok(()));
        }
        assert_eq!(repairs.begin(1000), Err(EVERY));
        assert_eq!(repairs.begin(1000 + EVERY - 1), Err(1));
        assert_eq!(repairs.begin(1000 + EVERY), Ok(()));
        assert_eq!(repairs.begin(1000 + EVERY), Err(EVERY));
        assert_eq!(repairs.count(), u64::from(BURST) + 1);
    }

    #[test]
    fn steady_writer_is_limited_to_the_rate() {
        let mut repairs = TokenBucket::default();
        for _ in 0..BURST {
            repairs.begin(1000).unwrap();
        }
        let writes = (1..=100).filter(|second| repairs.begin(1000 + second).is_ok());
        assert_eq!(writes.count(), 10);
    }

    #[test]
    fn idle_bucket_is_full() {
        let mut repairs = TokenBucket::default();
        assert!(repairs.is_full(1000));
        repairs.begin(1000).unwrap();
        repairs.begin(1000).unwrap();
        assert!(!repairs.is_full(1000 + EVERY));
        assert!(repairs.is_full(1000 + EVERY * 2));
    }

    #[test]
    fn new_content_is_never_delayed() {
        let mut rewrites = RewriteLimit::default();
        for content in 0..100 {
            assert_eq!(rewrites.begin("a", &content, 1000), Ok(()));
            rewrites.finish("a", content);
        }
        for _ in 0..BURST {
            assert_eq!(rewrites.begin("a", &99, 1000), Ok(()));
        }
        assert_eq!(rewrites.begin("a", &99, 1000), Err(EVERY));
        assert_eq!(rewrites.begin("a", &100, 1000), Ok(()));
        assert_eq!(rewrites.begin("b", &99, 1000), Ok(()));
    }

    #[test]
    fn failed_writes_cost_no_allowance() {
        let mut rewrites = RewriteLimit::default();
        for _ in 0..100 {
            assert_eq!(rewrites.begin("a", &1, 1000), Ok(()));
        }
    }

    proptest! {
        #[test]
        fn no_period_exceeds_its_allowance(mut times in prop::collection::vec(0_u64..10_000, 1..200)) {
            times.sort_unstable();
            let mut repairs = TokenBucket::default();
            let done: Vec<u64> = times.into_iter().filter(|now| repairs.begin(*now).is_ok()).collect();
            for (at, start) in done.iter().enumerate() {
                for (number, end) in done[at..].iter().enumerate() {
                    let share = u64::from(BURST) + (end - start) / EVERY + 1;
                    prop_assert!(number as u64 <= share);
                }
            }
        }
    }
}
