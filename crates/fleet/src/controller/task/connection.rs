//! The connection to a workload cluster.

use std::time::Duration;

use image_swap_cluster::Release;
use tokio::{sync::watch, task::JoinHandle, time::Instant};

use crate::{
    heartbeat::{self, HeartbeatState},
    remote::RemoteCluster,
};

/// Connection to a workload cluster.
pub(super) struct ClusterSession {
    pub(super) remote: RemoteCluster,
    /// Version of the access.
    pub(super) version: String,
    pub(super) uid: String,
    /// Number of connections at the last request for the UID.
    pub(super) opened: usize,
    pub(super) heartbeat: watch::Receiver<HeartbeatState>,
    watching: JoinHandle<()>,
    /// Begin of the time in which a heartbeat is to arrive.
    begun: Instant,
}

impl ClusterSession {
    /// Follows the heartbeat of the release `workload` in the cluster `uid`. `version` is that of
    /// the access.
    pub(super) fn begin(
        remote: RemoteCluster,
        (version, uid): (&str, String),
        workload: &Release,
        stale_after: Duration,
    ) -> Self {
        let opened = remote.connections();
        let (heartbeat, watching) = follow(&remote, workload, stale_after);
        let version = version.to_owned();
        Self { remote, version, uid, opened, heartbeat, watching, begun: Instant::now() }
    }

    /// Follows the heartbeat from the beginning if it is stale, or if a part of the time for the
    /// first one is over. A cluster that has just received image-swap, or another declaration, has
    /// the whole time.
    pub(super) fn expect_heartbeat(&mut self, workload: &Release, stale_after: Duration) {
        let is_waiting = {
            let state = self.heartbeat.borrow();
            state.is_stale || (state.received.is_none() && self.begun.elapsed() > stale_after / 4)
        };
        if is_waiting {
            self.watching.abort();
            (self.heartbeat, self.watching) = follow(&self.remote, workload, stale_after);
            self.begun = Instant::now();
        }
    }
}

/// Follows the heartbeat of the release `workload`.
fn follow(
    remote: &RemoteCluster,
    workload: &Release,
    stale_after: Duration,
) -> (watch::Receiver<HeartbeatState>, JoinHandle<()>) {
    heartbeat::follow_remote(remote, &workload.namespace, &workload.heartbeat(), stale_after)
}

impl Drop for ClusterSession {
    fn drop(&mut self) {
        self.watching.abort();
    }
}
