//! Pace at which the heartbeats of a workload cluster are read, and cause comparisons.
//!
//! A cluster may send any number of heartbeats, each with another summary. Only the latest in a
//! second is read, so that a hostile cluster causes few writes on the management cluster. The pause
//! after each full comparison that a heartbeat caused doubles, so that it also causes few requests.

use std::time::Duration;

/// Shortest time between two heartbeats of a cluster that are read.
pub const BEAT_PAUSE: Duration = Duration::from_secs(1);

/// Pause before a comparison after objects were written.
pub const SETTLE_PAUSE: Duration = Duration::from_secs(5);
/// Shortest pause between two comparisons that heartbeats cause.
pub const COMPARE_PAUSE: Duration = Duration::from_secs(5);
/// Longest pause between two comparisons that heartbeats cause.
pub const LONGEST_COMPARE_PAUSE: Duration = Duration::from_mins(10);

/// Heartbeats of one cluster. At most one of them waits.
///
/// Times are durations since any fixed moment.
#[derive(Debug)]
pub struct BeatPace<T> {
    /// Time from which the next heartbeat is read at once.
    open: Duration,
    /// Latest heartbeat that was not read; `None` if the last one was.
    waiting: Option<T>,
}

impl<T> Default for BeatPace<T> {
    fn default() -> Self {
        Self { open: Duration::ZERO, waiting: None }
    }
}

impl<T> BeatPace<T> {
    /// Returns the heartbeat `beat` if it is read at `now`. Otherwise it waits, in place of the one
    /// that waited before.
    pub fn offer(&mut self, beat: T, now: Duration) -> Option<T> {
        self.waiting = Some(beat);
        self.take(now)
    }

    /// Returns the waiting heartbeat if it is read at `now`.
    pub fn take(&mut self, now: Duration) -> Option<T> {
        if now < self.open {
            return None;
        }
        let beat = self.waiting.take()?;
        self.open = now.saturating_add(BEAT_PAUSE);
        Some(beat)
    }

    /// Returns the time at which the waiting heartbeat is read; `None` if none waits.
    pub const fn due(&self) -> Option<Duration> {
        match self.waiting {
            Some(_) => Some(self.open),
            None => None,
        }
    }
}

/// Pace of full comparisons that heartbeats of one cluster cause.
///
/// Times are durations since any fixed moment.
#[derive(Debug)]
pub struct ComparePace {
    /// Time from which a comparison is allowed.
    open: Duration,
    /// Pause after the next comparison.
    pause: Duration,
}

impl Default for ComparePace {
    fn default() -> Self {
        Self { open: Duration::ZERO, pause: COMPARE_PAUSE }
    }
}

impl ComparePace {
    /// Returns the time from which a comparison is allowed.
    pub const fn open(&self) -> Duration {
        self.open
    }

    /// Notes that objects were written or compared at `now`. The controller of the cluster needs
    /// time to report them.
    pub fn settle(&mut self, now: Duration) {
        self.open = self.open.max(now.saturating_add(SETTLE_PAUSE));
    }

    /// Notes that a heartbeat causes a comparison at `now`. The next pause is twice as long, or the
    /// shortest one after a time without comparisons.
    pub fn begin(&mut self, now: Duration) {
        if now >= self.open.saturating_add(LONGEST_COMPARE_PAUSE) {
            self.pause = COMPARE_PAUSE;
        }
        self.open = now.saturating_add(self.pause);
        self.pause = (self.pause * 2).min(LONGEST_COMPARE_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn latest_of_many_heartbeats_is_read() {
        let mut pace = BeatPace::default();
        let mut read = Vec::new();
        // A thousand heartbeats in four seconds.
        for number in 0..1000 {
            let now = at(number * 4);
            if pace.due().is_some_and(|due| due <= now) {
                read.extend(pace.take(now));
            }
            read.extend(pace.offer(number, now));
        }
        assert_eq!(read, [0, 249, 499, 749]);
        assert_eq!(pace.due(), Some(at(4000)));
        assert_eq!((pace.take(at(3999)), pace.take(at(4000))), (None, Some(999)));
        assert_eq!((pace.due(), pace.take(at(9000))), (None, None));
    }

    #[test]
    fn lying_cluster_is_compared_rarely() {
        let mut pace = ComparePace::default();
        // A cluster that reports another declaration each second, for a day.
        let compared = (0..86_400).map(Duration::from_secs).filter(|now| {
            let is_open = *now >= pace.open();
            if is_open {
                pace.begin(*now);
                pace.settle(*now);
            }
            is_open
        });
        let compared: Vec<u64> = compared.map(|it| it.as_secs()).collect();
        assert_eq!(compared[..5], [0, 5, 15, 35, 75]);
        assert!(compared.len() < 160, "{}", compared.len());
        // A cluster that was honest for a while is compared soon again.
        let later = Duration::from_hours(48);
        pace.begin(later);
        assert_eq!(pace.open(), later + COMPARE_PAUSE);
    }

    #[test]
    fn written_objects_are_not_compared_at_once() {
        let mut pace = ComparePace::default();
        pace.settle(at(500));
        assert_eq!(pace.open(), at(500) + SETTLE_PAUSE);
        // The pause after a comparison lasts longer.
        for now in [at(6000), at(11_000)] {
            pace.begin(now);
        }
        pace.settle(at(12_000));
        assert_eq!(pace.open(), at(21_000));
    }

    #[test]
    fn rare_heartbeats_do_not_wait() {
        let mut pace = BeatPace::default();
        for number in 0..3 {
            assert_eq!(pace.offer(number, at(number * 60_000)), Some(number));
            assert_eq!(pace.due(), None);
        }
    }
}
