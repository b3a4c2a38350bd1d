//! Pace at which the heartbeats of a workload cluster are read.
//!
//! A cluster may send any number of heartbeats, each with another summary. Only the latest in a
//! second is read, so that a hostile cluster causes few writes on the management cluster.

use std::time::Duration;

/// Shortest time between two heartbeats of a cluster that are read.
pub const BEAT_PAUSE: Duration = Duration::from_secs(1);

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
    fn rare_heartbeats_do_not_wait() {
        let mut pace = BeatPace::default();
        for number in 0..3 {
            assert_eq!(pace.offer(number, at(number * 60_000)), Some(number));
            assert_eq!(pace.due(), None);
        }
    }
}
