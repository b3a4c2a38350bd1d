//! Orders for the tasks of workload clusters, and their reports.

use std::sync::Arc;

use image_swap_core::fleet::{
    assignment::Assignment,
    bundle::Bundle,
    inventory::{ClusterKey, InventoryEntry},
    wave::ClusterProgress,
};
use kube::Client;
use tokio::sync::{mpsc, watch};

use super::settings::FleetSettings;
use crate::objects::WorkloadClusters;

/// Order for the task of a workload cluster.
#[derive(Clone, Debug)]
pub(super) struct ClusterOrder {
    /// Entry of the inventory.
    pub(super) entry: Arc<InventoryEntry>,
    /// Assignment of the cluster.
    pub(super) assignment: Assignment,
    /// Bundle; the reason if there is none.
    pub(super) bundle: Result<Arc<Bundle>, String>,
    /// Number of the newest declaration of the management cluster; `None` without one.
    pub(super) newest: Option<u64>,
}

impl PartialEq for ClusterOrder {
    fn eq(&self, other: &Self) -> bool {
        let same_bundle = match (&self.bundle, &other.bundle) {
            (Ok(one), Ok(other)) => Arc::ptr_eq(one, other),
            (Err(one), Err(other)) => one == other,
            _ => false,
        };
        same_bundle
            && self.entry == other.entry
            && self.assignment == other.assignment
            && self.newest == other.newest
    }
}

/// Report of the task of a workload cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClusterReport {
    /// UID of the namespace `kube-system`; `None` before the first contact.
    pub(super) uid: Option<String>,
    /// Progress with the declaration of [`Self::revision`].
    pub(super) progress: ClusterProgress,
    /// Number of the declaration that the progress is about; `None` without one.
    pub(super) revision: Option<u64>,
    /// State of the cluster, for counts.
    pub(super) state: String,
}

/// Task of one workload cluster.
pub(super) struct ClusterTask {
    pub(super) key: ClusterKey,
    pub(super) settings: Arc<FleetSettings>,
    /// Client of the management cluster.
    pub(super) client: Client,
    pub(super) orders: watch::Receiver<ClusterOrder>,
    pub(super) reports: mpsc::UnboundedSender<(ClusterKey, ClusterReport)>,
    pub(super) objects: Arc<WorkloadClusters>,
}
