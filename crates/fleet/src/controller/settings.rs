//! Settings of the fleet controller.

use std::time::Duration;

use image_swap_cluster::{AttemptBackoff, Release};
use image_swap_core::{
    fleet::{inventory::selector::LabelSelector, wave::WaveSettings},
    mirror::Fallback,
};

use crate::{
    heartbeat::{PULL_STALE_AFTER, STALE_AFTER},
    names::FleetNames,
    remote::RemoteLimits,
    sources::SourceSettings,
};

/// Settings of the fleet controller.
#[derive(Clone, Debug)]
pub struct FleetSettings {
    /// Namespace of the fleet controller.
    pub namespace: String,
    /// Release of the management cluster, whose declaration workload clusters receive.
    pub release: Release,
    /// Release in each workload cluster.
    pub workload: Release,
    /// Sources of the inventory.
    pub sources: SourceSettings,
    /// Clusters that receive a declaration before the others; `None` without them.
    pub canary: Option<LabelSelector>,
    /// Maximum number of clusters in a wave; 0 for all clusters.
    pub wave_size: usize,
    /// Fallback to public registries in the bootstrap script of new machines; `None` if no script
    /// is written.
    pub bootstrap: Option<Fallback>,
    /// True if the metrics have the state of each cluster.
    pub has_cluster_metrics: bool,
    /// Intervals and deadlines.
    pub timing: FleetTiming,
}

/// Intervals and deadlines of the fleet controller.
#[derive(Clone, Copy, Debug)]
pub struct FleetTiming {
    /// Interval of full comparisons of a workload cluster.
    pub compare: Duration,
    /// Longest time for one attempt on a workload cluster.
    pub attempt: Duration,
    /// Longest time to wait for the restoration of nodes in one attempt of a removal.
    pub restore: Duration,
    /// First pause after a failed attempt. It doubles with each further one.
    pub first_pause: Duration,
    /// Longest pause after a failed attempt.
    pub longest_pause: Duration,
    /// Time without a heartbeat after which that of a cluster is stale.
    pub stale: Duration,
    /// Time without a heartbeat after which that of a cluster that pulls is stale.
    pub pull_stale: Duration,
    /// Limits of requests to a workload cluster.
    pub limits: RemoteLimits,
}

impl Default for FleetTiming {
    fn default() -> Self {
        Self {
            compare: Duration::from_mins(30),
            attempt: Duration::from_mins(3),
            restore: Duration::from_mins(2),
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_mins(5),
            stale: STALE_AFTER,
            pull_stale: PULL_STALE_AFTER,
            limits: RemoteLimits::default(),
        }
    }
}

impl FleetTiming {
    /// Returns the pauses between attempts on a cluster.
    pub(super) fn backoff(&self) -> AttemptBackoff {
        AttemptBackoff::new(self.first_pause, self.longest_pause)
    }
}

impl FleetSettings {
    /// Returns the fleet controller as a release of its own, for the leader election.
    pub fn candidate(&self) -> Release {
        self.names().controller
    }

    /// Returns the settings of waves.
    pub(super) const fn waves(&self) -> WaveSettings {
        WaveSettings { has_canary: self.canary.is_some(), size: self.wave_size }
    }

    pub(crate) fn names(&self) -> FleetNames {
        FleetNames::new(&self.namespace, &self.release)
    }
}
