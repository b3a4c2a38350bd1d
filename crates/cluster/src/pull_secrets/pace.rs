//! Limits on how often one Secret is written.
//!
//! Another writer of a namespace may change the Secret again and again; without a limit
//! each of those changes would be a write of the controller.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

/// Writes of one Secret that may follow each other at once.
const BURST: u32 = 5;
/// The time after which another write may follow.
const EVERY: Duration = Duration::from_secs(10);

/// The recent writes, by namespace.
#[derive(Debug, Default)]
pub(super) struct Paces(BTreeMap<String, NamespacePace>);

#[derive(Clone, Copy, Debug)]
struct NamespacePace {
    left: u32,
    since: Instant,
}

impl NamespacePace {
    /// Returns the allowance at `at`.
    fn at(self, at: Instant) -> Self {
        let earned = at.saturating_duration_since(self.since).as_secs() / EVERY.as_secs();
        let earned = u32::try_from(earned).unwrap_or(BURST).min(BURST);
        let left = (self.left + earned).min(BURST);
        let since = if left == BURST { at } else { self.since + EVERY * earned };
        Self { left, since }
    }
}

impl Paces {
    /// Counts a write in a namespace.
    ///
    /// # Errors
    /// The time of the next write, if there were too many.
    pub(super) fn begin(&mut self, namespace: &str, at: Instant) -> Result<(), Instant> {
        let pace =
            self.0.get(namespace).map_or(NamespacePace { left: BURST, since: at }, |it| it.at(at));
        let next = NamespacePace { left: pace.left.saturating_sub(1), ..pace };
        self.0.insert(namespace.to_owned(), next);
        if pace.left == 0 { Err(pace.since + EVERY) } else { Ok(()) }
    }

    /// Forgets namespaces with the full allowance.
    pub(super) fn forget(&mut self, at: Instant) {
        self.0.retain(|_, pace| pace.at(at).left < BURST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_of_one_namespace_are_paced() {
        let begin = Instant::now();
        let mut paces = Paces::default();
        for _ in 0..BURST {
            assert_eq!(paces.begin("a", begin), Ok(()));
        }
        assert_eq!(paces.begin("a", begin), Err(begin + EVERY));
        assert_eq!(paces.begin("b", begin), Ok(()));
        let later = begin + EVERY;
        assert_eq!(paces.begin("a", later), Ok(()));
        assert_eq!(paces.begin("a", later), Err(later + EVERY));
        // A second after the other one, for ever: one write every EVERY.
        let writes = (1..=100)
            .filter(|second| paces.begin("a", later + Duration::from_secs(*second)).is_ok());
        assert_eq!(writes.count(), 10);
    }

    #[test]
    fn idle_namespaces_are_forgotten() {
        let begin = Instant::now();
        let mut paces = Paces::default();
        paces.begin("a", begin).unwrap();
        paces.begin("a", begin).unwrap();
        paces.forget(begin + EVERY);
        assert_eq!(paces.0.len(), 1);
        paces.forget(begin + EVERY * 2);
        assert!(paces.0.is_empty());
    }
}
