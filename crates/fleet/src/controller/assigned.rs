//! Orders for workload clusters, from their assignments.

use std::sync::Arc;

use image_swap_core::fleet::{
    assignment::{AssignmentInput, assign, under_bundle},
    inventory::{ClusterKey, EntryAccess, InventoryEntry, standing::Standing},
    wanted::wanted,
};

use super::{Fleet, hub::HubBundle, order::ClusterOrder};

impl Fleet {
    /// Returns the UID of the cluster of `key`; `None` before the first contact by its present access.
    fn identity(&self, key: &ClusterKey, entry: &InventoryEntry) -> Option<&str> {
        self.clusters.get(key).and_then(|it| it.identity_by(entry))
    }

    /// Returns the facts from which a cluster is assigned, whatever bundle it has.
    pub(super) fn facts<'f>(
        &'f self,
        (key, entry): (&'f ClusterKey, &'f InventoryEntry),
        standing: Option<&'f Standing>,
        is_declared: bool,
    ) -> AssignmentInput<'f> {
        let identity = self.identity(key, entry);
        AssignmentInput {
            key,
            entry,
            identity,
            is_management: identity.is_some() && identity == self.uid.as_deref(),
            duplicate_of: match standing {
                Some(Standing::DuplicateOf(other)) => Some(other),
                Some(Standing::InForce { .. }) | None => None,
            },
            history: &self.history,
            is_declared,
            waves: &self.rollouts.declaration,
            rollout: &self.reasons.declaration,
        }
    }

    /// Returns the order for the task of a cluster. `newest` is the number of the newest declaration;
    /// `None` without one.
    pub(super) fn order_for(
        &self,
        (key, entry): (&ClusterKey, &Arc<InventoryEntry>),
        standing: Option<&Standing>,
        bundle: &Result<Arc<HubBundle>, String>,
        newest: Option<u64>,
    ) -> ClusterOrder {
        let facts = self.facts((key, entry), standing, newest.is_some());
        let (assignment, wanted) = (assign(&facts), wanted(&facts));
        let (assignment, kept_bundle) = if bundle.is_err() || entry.access == EntryAccess::Pulls {
            (assignment, None)
        } else {
            under_bundle(assignment, key, &self.rollouts.bundle, &self.reasons.bundle)
        };
        ClusterOrder {
            entry: Arc::clone(entry),
            assignment,
            wanted,
            identity: self.identity(key, entry).map(str::to_owned),
            bundle: bundle.clone(),
            kept_bundle,
            refused_declaration: self.refused_declaration(key, entry),
            newest,
            duplicates: match standing {
                Some(Standing::InForce { duplicates }) => duplicates.clone(),
                Some(Standing::DuplicateOf(_)) | None => Vec::new(),
            },
            resumed: self.resumed,
        }
    }
}
