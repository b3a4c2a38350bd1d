//! The rollout of a declaration to workload clusters in waves, and its report.

use std::collections::BTreeMap;

use image_swap_core::{
    fleet::{
        inventory::{ClusterKey, standing::Standing},
        wave::{self, ClusterProgress, WaveCluster},
    },
    status::workload_cluster::state,
};
use tracing::info;

use super::{
    Fleet,
    hub::{HubDeclaration, HubView},
};
use crate::{metrics::FleetReport, sources::ListedInventory};

impl Fleet {
    /// Decides on the waves of the newest declaration.
    pub(super) fn roll_out(
        &mut self,
        declaration: &HubDeclaration,
        (inventory, standings): (&ListedInventory, &BTreeMap<ClusterKey, Standing>),
    ) {
        let HubDeclaration::Present(wanted, _) = declaration else { return };
        let settings = self.settings.waves();
        let clusters = if settings.is_off() {
            BTreeMap::new()
        } else {
            self.wave_clusters(*wanted, inventory, standings)
        };
        let stored = std::mem::take(&mut self.waves);
        let decision = wave::decide(settings, self.order.wave(), *wanted, &stored, &clusters);
        if !decision.summary.is_empty() && decision.summary != self.rollout {
            info!(revision = wanted, progress = decision.summary, "rollout to workload clusters");
        }
        self.waves = decision.state;
        self.rollout = decision.summary;
        if !settings.is_off() {
            self.follow_inventory(inventory);
        }
    }

    /// Returns the clusters that take part in the rollout of the declaration `wanted`.
    fn wave_clusters(
        &self,
        wanted: u64,
        inventory: &ListedInventory,
        standings: &BTreeMap<ClusterKey, Standing>,
    ) -> BTreeMap<ClusterKey, WaveCluster> {
        let mut clusters = BTreeMap::new();
        for (key, entry) in &inventory.clusters {
            let is_counted = entry.access.is_usable()
                && !entry.settings.is_paused
                && !entry.settings.is_removed
                && entry.settings.pinned_revision.is_none()
                && entry.registry_info.is_none()
                && !matches!(standings.get(key), Some(Standing::DuplicateOf(_)))
                && !self.is_management(key);
            if !is_counted {
                continue;
            }
            let report = self.clusters.get(key).and_then(|it| it.report.as_ref());
            let progress = match report {
                None => ClusterProgress::Unknown,
                Some(report) if report.progress == ClusterProgress::Unreachable => {
                    ClusterProgress::Unreachable
                }
                Some(report) if report.uid.is_none() => ClusterProgress::Unreachable,
                // The attempt that an administrator resumed has not ended.
                Some(report) if report.resumed != self.resumed => ClusterProgress::Pending,
                Some(report) if report.revision == Some(wanted) => report.progress.clone(),
                Some(_) => ClusterProgress::Pending,
            };
            let canary = self.settings.canary.as_ref();
            let is_canary = canary.is_some_and(|it| it.matches(&entry.labels));
            clusters.insert(key.clone(), WaveCluster { is_canary, progress });
        }
        clusters
    }

    /// Updates the declarations of clusters that take no part in the rollout. A cluster that was
    /// pinned keeps its number until its wave begins.
    fn follow_inventory(&mut self, inventory: &ListedInventory) {
        let objects = inventory.objects();
        let is_kept = |name: &str| objects.contains(name) || !inventory.is_listed(name);
        self.waves.former.retain(|name, _| is_kept(name));
        for (key, entry) in &inventory.clusters {
            if entry.settings.is_removed {
                self.waves.former.remove(&key.to_string());
            } else if let Some(pinned) = entry.settings.pinned_revision
                && self.history.get(pinned).is_some()
            {
                self.waves.former.insert(key.to_string(), pinned);
            }
        }
    }

    /// Returns the report for metrics.
    pub(super) fn report(&self, hub: &HubView) -> FleetReport {
        let mut states: BTreeMap<String, u64> = BTreeMap::new();
        let mut clusters = BTreeMap::new();
        for (key, cluster) in &self.clusters {
            let state = cluster.report.as_ref().map_or(state::PENDING, |it| &it.state);
            *states.entry(state.to_owned()).or_default() += 1;
            if self.settings.has_cluster_metrics {
                clusters.insert(key.clone(), state.to_owned());
            }
        }
        FleetReport {
            states,
            clusters,
            revision: match hub.declaration {
                Some(HubDeclaration::Present(revision, _)) => Some(revision),
                Some(HubDeclaration::Absent) | None => None,
            },
            is_stopped: self.waves.failed.is_some(),
        }
    }
}
