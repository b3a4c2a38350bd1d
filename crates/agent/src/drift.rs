//! The count of repairs.

use std::collections::VecDeque;

use image_swap_core::declaration::UnixTime;

/// Seconds after which a repair no longer counts.
const WINDOW: UnixTime = 3600;
/// Repairs within the window that are not worth a report.
const TOLERATED: usize = 3;

/// The latest repairs: files that image-swap wrote, that another program changed since, and that
/// the agent wrote again.
#[derive(Debug, Default)]
pub(crate) struct DriftCounter {
    /// Times of the latest repairs, the oldest first; one more than tolerated at most.
    times: VecDeque<UnixTime>,
    /// Path of the file that was repaired last; empty without a repair.
    path: String,
}

impl DriftCounter {
    /// Counts a repair of the file at `path`.
    pub(crate) fn record(&mut self, path: &str, now: UnixTime) {
        path.clone_into(&mut self.path);
        self.times.push_back(now);
        if self.times.len() > TOLERATED + 1 {
            self.times.pop_front();
        }
    }

    /// Returns the file that was repaired last if there were too many repairs; `None` otherwise.
    pub(crate) fn excessive(&self, now: UnixTime) -> Option<&str> {
        let oldest = self.times.front().filter(|_| self.times.len() > TOLERATED)?;
        (now.saturating_sub(*oldest) < WINDOW).then_some(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fourth_repair_within_an_hour_is_excessive() {
        let mut counter = DriftCounter::default();
        assert_eq!(counter.excessive(0), None);
        for (now, excessive) in
            [(0, false), (10, false), (20, false), (3599, true), (3600, true), (9000, false)]
        {
            counter.record(&format!("/etc/{now}"), now);
            let path = format!("/etc/{now}");
            assert_eq!(counter.excessive(now), excessive.then_some(&*path), "{now}");
        }
    }

    #[test]
    fn repairs_are_forgotten_after_an_hour() {
        let mut counter = DriftCounter::default();
        for now in 100..104 {
            counter.record("/etc/a", now);
        }
        assert_eq!(counter.excessive(3699), Some("/etc/a"));
        assert_eq!(counter.excessive(3700), None);
        // The clock was set back.
        assert_eq!(counter.excessive(50), Some("/etc/a"));
    }
}
