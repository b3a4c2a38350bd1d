//! Orders for the tasks of workload clusters, and their reports.

use std::sync::Arc;

use image_swap_core::{
    fleet::{
        assignment::Assignment,
        inventory::{ClusterKey, InventoryEntry},
        wave::ClusterProgress,
    },
    status::workload_cluster::WantedDeclaration,
};
use kube::Client;
use tokio::sync::{mpsc, watch};

use super::{ends::AttemptEnds, filled::FilledBundles, hub::HubBundle, settings::FleetSettings};
use crate::objects::WorkloadClusters;

/// Order for the task of a workload cluster.
#[derive(Clone, Debug)]
pub(super) struct ClusterOrder {
    /// Entry of the inventory.
    pub(super) entry: Arc<InventoryEntry>,
    /// Assignment of the cluster with [`Self::identity`], and of no other one.
    pub(super) assignment: Assignment,
    /// Declaration that the cluster is to have in the end.
    pub(super) wanted: WantedDeclaration,
    /// UID of the namespace `kube-system`; `None` before the first contact with the present access.
    pub(super) identity: Option<String>,
    /// Bundle; the reason if there is none.
    pub(super) bundle: Result<Arc<HubBundle>, String>,
    /// Progress of the rollout of the bundle, if the cluster keeps its former one until its wave
    /// begins; `None` if it receives the bundle.
    pub(super) kept_bundle: Option<String>,
    /// Reason to refuse the Secret `registry-info` beside the cluster, whose last valid content is
    /// assigned; `None` if it is valid or absent.
    pub(super) refused_declaration: Option<String>,
    /// Number of the newest declaration of the management cluster; `None` without one.
    pub(super) newest: Option<u64>,
    /// Other entries of the same cluster, which do not count.
    pub(super) duplicates: Vec<ClusterKey>,
    /// Number of times that an administrator resumed the rollout. Each begins an attempt.
    pub(super) resumed: u64,
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
            && self.wanted == other.wanted
            && self.kept_bundle == other.kept_bundle
            && self.identity == other.identity
            && self.refused_declaration == other.refused_declaration
            && self.duplicates == other.duplicates
            && self.resumed == other.resumed
            && self.newest == other.newest
    }
}

/// Report of the task of a workload cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClusterReport {
    /// UID of the namespace `kube-system`; `None` before the first contact.
    pub(super) uid: Option<String>,
    /// Version of the access by which [`Self::uid`] was read; empty before the first contact.
    pub(super) version: String,
    /// Number of resumed rollouts, as in the order.
    pub(super) resumed: u64,
    /// Progress with the declaration of [`Self::revision`].
    pub(super) progress: ClusterProgress,
    /// Number of the declaration that the progress is about; `None` without one.
    pub(super) revision: Option<u64>,
    /// Progress with the bundle of [`Self::bundle`].
    pub(super) bundle_progress: ClusterProgress,
    /// Hash of the bundle that the progress is about; `None` without one.
    pub(super) bundle: Option<String>,
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
    /// Filled bundles of all clusters.
    pub(super) filled: Arc<FilledBundles>,
    /// Ends of the attempts of all clusters.
    pub(super) ends: Arc<AttemptEnds>,
}
