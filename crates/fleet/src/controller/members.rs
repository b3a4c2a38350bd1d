//! Clusters that join and leave the fleet, and their identities.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use image_swap_cluster::clock::now;
use image_swap_core::fleet::inventory::{
    ClusterKey, EntryAccess, InventoryEntry,
    standing::{KnownIdentity, Standing, standings},
};
use tracing::warn;

use super::{Fleet, RunningCluster, order::ClusterReport, tokens::StoredTokens};
use crate::sources::ListedInventory;

impl RunningCluster {
    /// Returns the UID of the cluster; `None` before the first contact by the access of `entry`.
    pub(super) fn identity_by(&self, entry: &InventoryEntry) -> Option<&str> {
        let identity = self.identity.as_ref()?;
        match &entry.access {
            EntryAccess::Usable { version, .. } if *version != self.version => None,
            _ => Some(&identity.uid),
        }
    }
}

impl Fleet {
    /// Takes the report of a task.
    pub(super) fn take(&mut self, key: &ClusterKey, report: ClusterReport) {
        let Some(cluster) = self.clusters.get_mut(key) else { return };
        if let Some(uid) = &report.uid
            && cluster.identity.as_ref().is_none_or(|it| it.uid != *uid)
        {
            let former = cluster.former.as_ref().filter(|it| it.uid == *uid).cloned();
            let new = || KnownIdentity { uid: uid.clone(), since: now() };
            cluster.identity = Some(former.unwrap_or_else(new));
            self.standings = None;
        }
        cluster.version.clone_from(&report.version);
        cluster.report = Some(report);
    }

    /// Ends the tasks of clusters that left the inventory, and deletes their objects and tokens. A
    /// failed deletion is repeated, and delays no other cluster.
    pub(super) async fn forget_clusters(&mut self, inventory: &ListedInventory) {
        let is_gone = |key: &&ClusterKey| !inventory.clusters.contains_key(key);
        let gone: Vec<ClusterKey> = self.clusters.keys().filter(is_gone).cloned().collect();
        for key in gone {
            // The task writes the object no more.
            if let Some(mut cluster) = self.clusters.remove(&key) {
                cluster.task.abort();
                let _ = (&mut cluster.task).await;
            }
            self.has_gone = true;
            self.standings = None;
        }
        let objects = self.objects.retain(inventory.clusters.keys(), &inventory.refused).await;
        self.has_gone |= !matches!(objects, Ok(0));
        if !self.has_gone {
            return;
        }
        let present = inventory.objects();
        let is_gone = |it: &str| !present.contains(it) && inventory.is_listed(it);
        let tokens = StoredTokens::new(&self.client, &self.settings).delete_gone(is_gone).await;
        self.has_gone = false;
        for error in [objects.map(drop), tokens].into_iter().filter_map(Result::err) {
            warn!(%error, "cannot delete objects of a cluster that left the inventory");
            self.has_gone = true;
        }
    }

    /// Returns the standing of each cluster whose identity is known. Before the first contact it is
    /// that of the stored report, so that no other entry replaces this one.
    pub(super) fn standings(&mut self) -> Arc<BTreeMap<ClusterKey, Standing>> {
        if let Some(standings) = &self.standings {
            return Arc::clone(standings);
        }
        let identity = |it: &RunningCluster| it.identity.clone().or_else(|| it.former.clone());
        let known = self.clusters.iter();
        let known = known.filter_map(|(key, it)| Some((key.clone(), identity(it)?)));
        let standings = Arc::new(standings(&known.collect()));
        self.standings = Some(Arc::clone(&standings));
        standings
    }

    /// Returns the numbers of declarations that clusters keep: with waves also the one that all
    /// clusters have until their wave of the next one begins.
    pub(super) fn revisions_in_use(&self, inventory: &ListedInventory) -> BTreeSet<u64> {
        let pinned = inventory.clusters.values().filter_map(|it| it.settings.pinned_revision);
        let waves = &self.rollouts.declaration;
        let rolled_out = (!self.settings.waves().is_off()).then_some(waves.target);
        pinned.chain(waves.former.values().copied()).chain(rolled_out).collect()
    }

    /// Returns true if the cluster of `key` is the management cluster.
    pub(super) fn is_management(&self, key: &ClusterKey) -> bool {
        let identity = self.clusters.get(key).and_then(|it| it.identity.as_ref());
        identity.is_some_and(|it| Some(&it.uid) == self.uid.as_ref())
    }
}
