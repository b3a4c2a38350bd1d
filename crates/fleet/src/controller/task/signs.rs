//! Signs of heartbeats that something changed a workload cluster, or that its API server refuses
//! the credential. They cause a full comparison, at a pace that the cluster cannot raise.

use image_swap_core::{fleet::pace::ComparePace, status::cluster_summary::ClusterSummary};
use tokio::time::Instant;

/// Declaration that is stored in a cluster.
#[derive(Clone, Copy)]
pub(in crate::controller) struct StoredDeclarationId<'d> {
    /// Number.
    pub(in crate::controller) revision: u64,
    /// Hash of its text without credentials.
    pub(in crate::controller) hash: &'d str,
}

/// Signs of heartbeats.
pub(super) struct HeartbeatSigns {
    begun: Instant,
    pace: ComparePace,
    /// True since heartbeats ended, until the next comparison.
    pub(super) is_lost: bool,
    /// Status 401 or 403 with which the API server refuses the watch of the heartbeat; `None` if it
    /// does not.
    pub(super) refused: Option<u16>,
    /// True while the last heartbeat reports another declaration than the stored one.
    differs: bool,
    /// Number of the declaration that a heartbeat reported as stored; `None` before the first.
    seen: Option<u64>,
}

impl HeartbeatSigns {
    /// Returns the signs before the first heartbeat.
    pub(super) fn new() -> Self {
        Self {
            begun: Instant::now(),
            pace: ComparePace::default(),
            is_lost: false,
            refused: None,
            differs: false,
            seen: None,
        }
    }

    /// Takes the declaration that a heartbeat reports. `stored` is the one that is in force since the
    /// last comparison.
    pub(super) fn take(
        &mut self,
        stored: Option<StoredDeclarationId<'_>>,
        summary: Option<&ClusterSummary>,
    ) {
        self.differs = false;
        let (Some(stored), Some(summary)) = (stored, summary) else { return };
        if summary.reports(stored.revision, stored.hash) {
            self.seen = Some(stored.revision);
        } else {
            // A controller that starts reports nothing, until it has read the declaration.
            self.differs =
                summary.registry_info_revision.is_some() || self.seen == Some(stored.revision);
        }
    }

    /// Returns the time of the comparison that is due; `None` without one.
    pub(super) fn due(&self) -> Option<Instant> {
        let is_due = self.is_lost || self.differs || self.refused.is_some();
        is_due.then(|| self.begun + self.pace.open())
    }

    /// Notes that a comparison begins at `now`.
    pub(super) fn begin(&mut self, now: Instant) {
        self.pace.begin(now - self.begun);
        (self.is_lost, self.differs, self.refused) = (false, false, None);
    }

    /// Notes that objects were written or compared.
    pub(super) fn settle(&mut self) {
        self.pace.settle(self.begun.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    const STORED: StoredDeclarationId<'static> = StoredDeclarationId { revision: 2, hash: "b" };

    fn summary(revision: Option<u64>, hash: &str) -> ClusterSummary {
        ClusterSummary {
            registry_info_revision: revision,
            hash: hash.to_owned(),
            ..ClusterSummary::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn lost_declaration_differs_once_it_was_reported() {
        let mut signs = HeartbeatSigns::new();
        let mut differs = |stored, revision, hash| {
            signs.take(stored, Some(&summary(revision, hash)));
            signs.due().is_some()
        };
        assert!(!differs(Some(STORED), None, ""), "the controller starts");
        assert!(differs(Some(STORED), Some(1), "a"));
        assert!(!differs(Some(STORED), Some(2), "b"));
        assert!(differs(Some(STORED), Some(2), "edited"));
        assert!(!differs(Some(STORED), Some(2), ""), "an older controller has no hash");
        assert!(differs(Some(STORED), None, ""), "deleted");
        assert!(!differs(None, None, ""), "a comparison is planned already");
        // The controller has not read the next declaration yet.
        assert!(!differs(Some(StoredDeclarationId { revision: 3, hash: "c" }), None, ""));
    }

    #[tokio::test(start_paused = true)]
    async fn comparisons_keep_their_pace() {
        let mut signs = HeartbeatSigns::new();
        signs.is_lost = true;
        assert!(signs.due().unwrap() <= Instant::now());
        signs.begin(Instant::now());
        assert_eq!(signs.due(), None);
        signs.take(Some(STORED), Some(&summary(Some(1), "a")));
        assert!(signs.due().unwrap() > Instant::now());
        advance(Duration::from_secs(5)).await;
        assert!(signs.due().unwrap() <= Instant::now());
    }
}
