//! How often somebody else's changes are undone.
//!
//! Two programs that each insist would otherwise write as fast as they can.

use crate::declaration::UnixTime;

/// Repairs that may follow each other at once.
pub const BURST: u32 = 5;
/// Seconds after which another one may follow.
pub const EVERY: UnixTime = 10;

/// What is left of the allowance, and what was repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repairs {
    left: u32,
    since: UnixTime,
    count: u64,
}

impl Default for Repairs {
    fn default() -> Self {
        Self { left: BURST, since: 0, count: 0 }
    }
}

impl Repairs {
    /// Whether one more is allowed at `now`; if so it is counted.
    ///
    /// # Errors
    /// The seconds to wait.
    pub fn begin(&mut self, now: UnixTime) -> Result<(), UnixTime> {
        // A clock that was set back gives nothing, and costs nothing for long.
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
        if self.left == 0 {
            return Err(EVERY - (now - self.since));
        }
        self.left -= 1;
        self.count += 1;
        Ok(())
    }

    /// Repairs since the beginning.
    pub const fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_is_repaired_at_once_and_then_one_every_so_often() {
        let mut repairs = Repairs::default();
        for _ in 0..BURST {
            assert_eq!(repairs.begin(1000), Ok(()));
        }
        assert_eq!(repairs.begin(1000), Err(EVERY));
        assert_eq!(repairs.begin(1000 + EVERY - 1), Err(1));
        assert_eq!(repairs.begin(1000 + EVERY), Ok(()));
        assert_eq!(repairs.begin(1000 + EVERY), Err(EVERY));
        assert_eq!(repairs.count(), u64::from(BURST) + 1);
    }

    proptest! {
        #[test]
        fn no_time_sees_more_than_its_share(mut times in prop::collection::vec(0_u64..10_000, 1..200)) {
            times.sort_unstable();
            let mut repairs = Repairs::default();
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
