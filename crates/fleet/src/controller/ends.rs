//! The order of requests: those to workload clusters precede the reports about them, and the stored
//! state of the fleet controller.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// Time without the end of an attempt, after which reports and the state are written.
const QUIET: Duration = Duration::from_millis(50);
/// Longest wait of a report, and of the state.
const MOST: Duration = Duration::from_secs(2);

/// Ends of the attempts of all clusters. A thousand clusters that receive a declaration report it at
/// the same time, and the reports would delay the requests to the last of them.
#[derive(Default)]
pub(super) struct AttemptEnds {
    /// End of the last attempt; `None` before the first.
    last: Mutex<Option<Instant>>,
}

impl AttemptEnds {
    /// Notes the end of an attempt, or that attempts begin.
    pub(super) fn note(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Waits until the attempts that begin now have ended, and at most [`MOST`].
    pub(super) async fn wait_for_others(&self) {
        self.note();
        self.settle().await;
    }

    /// Waits until no attempt has ended for [`QUIET`], and at most [`MOST`].
    pub(super) async fn settle(&self) {
        self.settle_by(Self::latest()).await;
    }

    /// Returns the end of the longest wait that begins now.
    pub(super) fn latest() -> Instant {
        Instant::now() + MOST
    }

    /// Waits until no attempt has ended for [`QUIET`], and no longer than until `latest`.
    pub(super) async fn settle_by(&self, latest: Instant) {
        loop {
            let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(due) = last.map(|last| (last + QUIET).min(latest)) else { return };
            if due <= Instant::now() {
                return;
            }
            sleep_until(due).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn report_waits_for_other_clusters() {
        let ends = AttemptEnds::default();
        ends.settle().await;
        let begun = Instant::now();
        ends.note();
        advance(QUIET / 2).await;
        ends.note();
        ends.settle().await;
        assert_eq!(begun.elapsed(), QUIET / 2 + QUIET);
    }

    #[tokio::test(start_paused = true)]
    async fn report_waits_no_longer_than_its_limit() {
        let ends = AttemptEnds::default();
        let endless = async {
            loop {
                ends.note();
                tokio::time::sleep(QUIET / 2).await;
            }
        };
        ends.note();
        tokio::select! {
            () = endless => {}
            done = timeout(MOST + QUIET, ends.settle()) => done.unwrap(),
        }
    }
}
