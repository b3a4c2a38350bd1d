//! The connection to a workload cluster.

use tokio::{sync::watch, task::JoinHandle};

use crate::{heartbeat::HeartbeatState, remote::RemoteCluster};

/// Connection to a workload cluster.
pub(super) struct ClusterSession {
    pub(super) remote: RemoteCluster,
    /// Version of the access.
    pub(super) version: String,
    pub(super) uid: String,
    pub(super) heartbeat: watch::Receiver<HeartbeatState>,
    pub(super) watching: JoinHandle<()>,
}

impl Drop for ClusterSession {
    fn drop(&mut self) {
        self.watching.abort();
    }
}
