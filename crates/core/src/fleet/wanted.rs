//! The declaration that a workload cluster is to have in the end.

use super::assignment::{AssignmentInput, IntendedDeclaration};
use crate::status::workload_cluster::WantedDeclaration;

/// Returns the declaration that a cluster is to have in the end, whatever it waits for now.
pub fn wanted(input: &AssignmentInput<'_>) -> WantedDeclaration {
    let revision = match input.intended() {
        IntendedDeclaration::Newest(Some(_)) if !input.is_declared => {
            return WantedDeclaration::Orphaned;
        }
        IntendedDeclaration::Pinned(revision) => Some(revision),
        IntendedDeclaration::OfNamespace(own) => {
            own.filter(|it| it.effective.is_some()).map(|it| it.revision)
        }
        IntendedDeclaration::Newest(newest) => newest.map(|(revision, _)| revision),
    };
    revision.map_or(WantedDeclaration::None, WantedDeclaration::Revision)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        control::effective::{Effective, Origin, SecretData},
        fleet::{
            history::DeclarationHistory,
            inventory::{
                ClusterKey, ClusterSettings, ClusterSource, EntryAccess, InventoryEntry,
                OriginObject,
            },
            namespace_declaration::NamespaceDeclaration,
            wave::WaveState,
        },
    };

    fn effective() -> Effective {
        Effective { origin: Origin::RegistryInfo, secret: SecretData::default() }
    }

    fn entry() -> InventoryEntry {
        let (api_version, kind, uid) = ("v1".into(), "Secret".into(), "u".into());
        InventoryEntry {
            origin: OriginObject { api_version, kind, uid },
            access: EntryAccess::Pulls,
            settings: ClusterSettings::default(),
            registry_info: None,
            labels: [].into(),
        }
    }

    #[test]
    fn own_declaration_precedes_the_newest_one() {
        let mut history = DeclarationHistory::default();
        for revision in [1, 2] {
            history.record(revision, effective(), &[].into());
        }
        let valid = NamespaceDeclaration {
            revision: 7,
            effective: Some(Arc::new(effective())),
            refused: None,
        };
        let refused = Some("no DOMAIN".to_owned());
        let invalid = NamespaceDeclaration { revision: 7, effective: None, refused };
        history.set_beside("valid".into(), valid);
        history.set_beside("invalid".into(), invalid);
        let pinned = ClusterSettings { pinned_revision: Some(1), ..ClusterSettings::default() };
        let paused = ClusterSettings { is_paused: true, ..ClusterSettings::default() };
        let beside = || Some(Arc::new(effective().secret));
        let access = EntryAccess::Refused("exec".into());
        for (namespace, entry, is_declared, expected) in [
            ("none", entry(), true, WantedDeclaration::Revision(2)),
            ("none", entry(), false, WantedDeclaration::Orphaned),
            ("none", InventoryEntry { access, ..entry() }, true, WantedDeclaration::Revision(2)),
            (
                "none",
                InventoryEntry { settings: pinned, ..entry() },
                true,
                WantedDeclaration::Revision(1),
            ),
            (
                "valid",
                InventoryEntry { settings: paused, registry_info: beside(), ..entry() },
                false,
                WantedDeclaration::Revision(7),
            ),
            (
                "invalid",
                InventoryEntry { registry_info: beside(), ..entry() },
                true,
                WantedDeclaration::None,
            ),
            ("valid", entry(), true, WantedDeclaration::Revision(2)),
        ] {
            let key = ClusterKey {
                namespace: namespace.into(),
                source: ClusterSource::Pull,
                name: "a".into(),
            };
            let (waves, history) = (WaveState::default(), &history);
            let input = AssignmentInput {
                key: &key,
                entry: &entry,
                identity: None,
                duplicate_of: None,
                is_management: false,
                history,
                is_declared,
                waves: &waves,
                rollout: "",
            };
            assert_eq!(wanted(&input), expected, "{namespace}: {entry:?}");
        }
    }
}
