//! Pace of Events about workload clusters.
//!
//! A thousand clusters may fail at the same time. The first Events of a minute are published, and
//! the number of the others.

use std::time::Duration;

/// Time in which at most [`EVENTS`] Events are published.
pub const EVENT_WINDOW: Duration = Duration::from_mins(1);
/// Maximum number of Events in [`EVENT_WINDOW`].
pub const EVENTS: u32 = 30;

/// Events of the present window.
///
/// Times are durations since any fixed moment.
#[derive(Debug, Default)]
pub struct EventPace {
    /// Time after which another window begins.
    end: Duration,
    /// Number of published Events.
    published: u32,
    /// Number of Events that were omitted.
    omitted: u64,
}

impl EventPace {
    /// Returns true if an Event is published at `now`. Otherwise it counts as omitted.
    pub fn admits(&mut self, now: Duration) -> bool {
        if now >= self.end {
            self.end = now.saturating_add(EVENT_WINDOW);
            self.published = 0;
        }
        let is_admitted = self.published < EVENTS;
        if is_admitted {
            self.published += 1;
        } else {
            self.omit(1);
        }
        is_admitted
    }

    /// Counts `number` omitted Events.
    pub const fn omit(&mut self, number: u64) {
        self.omitted = self.omitted.saturating_add(number);
    }

    /// Returns the time at which the number of omitted Events is published; `None` without any.
    pub const fn due(&self) -> Option<Duration> {
        if self.omitted == 0 { None } else { Some(self.end) }
    }

    /// Takes the number of omitted Events if it is published at `now`.
    pub fn take_omitted(&mut self, now: Duration) -> Option<u64> {
        self.due().filter(|due| *due <= now)?;
        Some(std::mem::take(&mut self.omitted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn thousand_events_are_a_few_and_a_number() {
        let mut pace = EventPace::default();
        let admitted = (0..1000).filter(|_| pace.admits(at(5))).count();
        assert_eq!(admitted, 30);
        pace.omit(7);
        assert_eq!(pace.due(), Some(at(65)));
        assert_eq!((pace.take_omitted(at(64)), pace.take_omitted(at(65))), (None, Some(977)));
        assert_eq!((pace.due(), pace.take_omitted(at(500))), (None, None));
        assert!(pace.admits(at(65)), "another window has begun");
    }

    #[test]
    fn rare_events_are_all_published() {
        let mut pace = EventPace::default();
        assert!((0..1000).all(|number| pace.admits(at(number * 3))));
        assert_eq!(pace.due(), None);
    }
}
