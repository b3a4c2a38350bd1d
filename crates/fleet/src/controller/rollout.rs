//! The rollouts of declaration and bundle to workload clusters in waves, and their report.

use std::collections::{BTreeMap, BTreeSet};

use image_swap_core::{
    fleet::{
        assignment::{Assignment, assign},
        inventory::{ClusterKey, EntryAccess, InventoryEntry, standing::Standing},
        wave::{self, ClusterProgress, RolloutTarget, WaveCluster, WaveDecision, WaveState},
    },
    status::workload_cluster::state,
};
use tracing::info;

use super::{
    Fleet,
    hub::{HubDeclaration, HubView},
    order::ClusterReport,
};
use crate::{metrics::FleetReport, sources::ListedInventory};

/// Inventory with the standings of its clusters.
type ListedClusters<'a> = (&'a ListedInventory, &'a BTreeMap<ClusterKey, Standing>);

impl Fleet {
    /// Decides on the waves of the newest declaration; `None` without one.
    pub(super) fn roll_out(&mut self, newest: Option<u64>, listed: ListedClusters<'_>) {
        let Some(wanted) = newest else { return };
        let clusters = self.members(listed, |key, entry| {
            let has_bundle = entry.access == EntryAccess::Pulls
                || self.rollouts.bundle.target.is_empty()
                || !self.lacks_bundle(key);
            let takes_part = entry.settings.pinned_revision.is_none()
                && entry.registry_info.is_none()
                && has_bundle;
            let progress = |it: &ClusterReport| (it.revision == Some(wanted), it.progress.clone());
            takes_part.then(|| self.progress_of(key, progress))
        });
        let stored = std::mem::take(&mut self.rollouts.declaration);
        let decision = self.decide(&wanted, &stored, &self.progress.declaration, &clusters);
        self.progress.declaration = decision.summary;
        self.reasons.declaration = decision.reason;
        self.rollouts.declaration = decision.state;
        if !self.settings.waves().is_off() {
            self.follow_inventory(listed.0);
        }
    }

    /// Decides on the waves of the bundle `wanted`.
    pub(super) fn roll_out_bundle(
        &mut self,
        wanted: &str,
        is_declared: bool,
        listed: ListedClusters<'_>,
    ) {
        if !self.settings.waves().is_off() {
            self.follow_bundles(listed.0);
        }
        let clusters = self.members(listed, |key, entry| {
            if entry.access == EntryAccess::Pulls {
                return None;
            }
            let assignment = assign(&self.facts((key, entry), listed.1.get(key), is_declared));
            let is_declared =
                assignment == Assignment::Identify || assignment.declaration().is_some();
            if self.lacks_bundle(key) {
                return Some(ClusterProgress::Outside);
            }
            if !is_declared {
                // A cluster with a former bundle keeps it until it has a declaration and its wave.
                let is_kept = self.rollouts.bundle.former(key).is_some();
                return (!is_kept).then_some(ClusterProgress::Outside);
            }
            Some(self.progress_of(key, |report| {
                let is_wanted = report.bundle.as_deref() == Some(wanted);
                (is_wanted, report.bundle_progress.clone())
            }))
        });
        let stored = std::mem::take(&mut self.rollouts.bundle);
        let decision = self.decide(&wanted.to_owned(), &stored, &self.progress.bundle, &clusters);
        self.progress.bundle = decision.summary;
        self.reasons.bundle = decision.reason;
        self.rollouts.bundle = decision.state;
        let former = &self.rollouts.bundle.former;
        if former.keys().any(|name| !stored.former.contains_key(name)) {
            let keys = listed.0.clusters.keys().filter(|key| self.has_declaration(key));
            let names: BTreeSet<String> = keys.map(ToString::to_string).collect();
            self.rollouts.bundle.retain_former(&stored, |name| names.contains(name));
        }
    }

    /// Returns the decision on the rollout of `wanted`. `before` is the last progress.
    fn decide<T: RolloutTarget>(
        &self,
        wanted: &T,
        stored: &WaveState<T>,
        before: &str,
        clusters: &BTreeMap<ClusterKey, WaveCluster>,
    ) -> WaveDecision<T> {
        let settings = self.settings.waves();
        let decision = wave::decide(settings, self.order.wave(), wanted, stored, clusters);
        if !decision.summary.is_empty() && decision.summary != before {
            let (target, progress) = (wanted.title(), &decision.summary);
            info!(target, progress, "rollout to workload clusters");
        }
        decision
    }

    /// Returns the clusters that take part in a rollout, with their `progress`; `None` for a cluster
    /// that does not.
    fn members(
        &self,
        (inventory, standings): ListedClusters<'_>,
        progress: impl Fn(&ClusterKey, &InventoryEntry) -> Option<ClusterProgress>,
    ) -> BTreeMap<ClusterKey, WaveCluster> {
        let mut clusters = BTreeMap::new();
        if self.settings.waves().is_off() {
            return clusters;
        }
        for (key, entry) in &inventory.clusters {
            let is_counted = entry.access.is_usable()
                && !entry.settings.is_paused
                && !entry.settings.is_removed
                && !matches!(standings.get(key), Some(Standing::DuplicateOf(_)))
                && !self.is_management(key);
            let Some(progress) = is_counted.then(|| progress(key, entry)).flatten() else {
                continue;
            };
            let canary = self.settings.canary.as_ref();
            let is_canary = canary.is_some_and(|it| it.matches(&entry.labels));
            clusters.insert(key.clone(), WaveCluster { is_canary, progress });
        }
        clusters
    }

    /// Returns the progress of the cluster `key`. `of` returns that of a report, and true if it is
    /// about the target of the rollout.
    fn progress_of(
        &self,
        key: &ClusterKey,
        of: impl Fn(&ClusterReport) -> (bool, ClusterProgress),
    ) -> ClusterProgress {
        let Some(report) = self.clusters.get(key).and_then(|it| it.report.as_ref()) else {
            return ClusterProgress::Unknown;
        };
        let (is_wanted, progress) = of(report);
        if progress == ClusterProgress::Unreachable || report.uid.is_none() {
            return ClusterProgress::Unreachable;
        }
        // The attempt that an administrator resumed has not ended.
        if report.resumed != self.resumed || !is_wanted {
            return ClusterProgress::Pending;
        }
        progress
    }

    /// Returns true if the cluster `key` waits for its first bundle.
    fn lacks_bundle(&self, key: &ClusterKey) -> bool {
        !self.rollouts.bundle.admits(key) && self.rollouts.bundle.former(key).is_none()
    }

    /// Updates the declarations of clusters that take no part in the rollout. A cluster that was
    /// pinned keeps its number until its wave begins.
    fn follow_inventory(&mut self, inventory: &ListedInventory) {
        let former = &mut self.rollouts.declaration.former;
        forget_others(former, inventory);
        for (key, entry) in &inventory.clusters {
            if let Some(pinned) = entry.settings.pinned_revision
                && !entry.settings.is_removed
                && self.history.get(pinned).is_some()
            {
                former.insert(key.to_string(), pinned);
            }
        }
    }

    /// Updates the former bundles of clusters. The state that a former release stored lists no
    /// bundles, so a cluster with a stored declaration counts as one that has a bundle.
    fn follow_bundles(&mut self, inventory: &ListedInventory) {
        forget_others(&mut self.rollouts.bundle.former, inventory);
        for (key, entry) in &inventory.clusters {
            let is_applied = !entry.settings.is_removed && entry.access != EntryAccess::Pulls;
            if is_applied && self.lacks_bundle(key) && self.has_declaration(key) {
                self.rollouts.bundle.former.insert(key.to_string(), String::new());
            }
        }
    }

    /// Returns true if a declaration is stored in the cluster `key`, by its last report.
    fn has_declaration(&self, key: &ClusterKey) -> bool {
        self.objects.status(key).is_some_and(|it| it.applied_revision.is_some())
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
            is_stopped: self.rollouts.are_stopped(),
        }
    }
}

/// Forgets the former targets of clusters that left the inventory, or that an administrator removes.
fn forget_others<T>(former: &mut BTreeMap<String, T>, inventory: &ListedInventory) {
    let objects = inventory.objects();
    former.retain(|name, _| objects.contains(name.as_str()) || !inventory.is_listed(name));
    for (key, _) in inventory.clusters.iter().filter(|(_, it)| it.settings.is_removed) {
        former.remove(&key.to_string());
    }
}
