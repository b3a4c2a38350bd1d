//! Assignments: the declaration that a workload cluster is to have, or the reason to wait.

use std::sync::Arc;

use super::{
    history::DeclarationHistory,
    inventory::{ClusterKey, EntryAccess, InventoryEntry},
    namespace_declaration::NamespaceDeclaration,
    wave::{BundleWaves, DeclarationWaves},
};
use crate::{control::effective::Effective, labels::REGISTRY_INFO};

/// Assignment of a workload cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assignment {
    /// No change of the cluster, for this reason.
    Wait(WaitReason),
    /// Read the identity of the cluster.
    Identify,
    /// Bring this declaration into force.
    Apply(AssignedDeclaration),
    /// Keep this former declaration in force until a wave begins: progress of the rollout.
    Keep(AssignedDeclaration, String),
    /// Remove image-swap from the cluster.
    Remove,
}

impl Assignment {
    /// Returns the declaration that is applied; `None` without one.
    pub const fn declaration(&self) -> Option<&AssignedDeclaration> {
        match self {
            Self::Apply(declaration) | Self::Keep(declaration, _) => Some(declaration),
            Self::Wait(_) | Self::Identify | Self::Remove => None,
        }
    }
}

/// Declaration for a workload cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssignedDeclaration {
    /// Number of the declaration.
    pub revision: u64,
    /// Declaration.
    pub effective: Arc<Effective>,
}

/// Reason why a workload cluster is not changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitReason {
    /// No access yet, for this reason.
    Access(String),
    /// Access that is refused, for this reason.
    Refused(String),
    /// Paused by an administrator.
    Paused,
    /// Same cluster as another entry, which stays in force.
    Duplicate(ClusterKey),
    /// Management cluster itself.
    ManagementCluster,
    /// No declaration before the first one.
    NoDeclaration,
    /// Declaration deleted from the management cluster. The workload cluster keeps it.
    Orphaned,
    /// Number of a declaration that is not kept.
    UnknownRevision(u64),
    /// Later wave, before any declaration or any bundle: progress of the rollout.
    Wave(String),
}

/// Facts from which a cluster is assigned.
#[derive(Clone, Copy, Debug)]
pub struct AssignmentInput<'a> {
    /// Key of the cluster.
    pub key: &'a ClusterKey,
    /// Entry of the inventory.
    pub entry: &'a InventoryEntry,
    /// UID of the cluster's namespace kube-system; `None` before it is read.
    pub identity: Option<&'a str>,
    /// Other entry of the same cluster, which stays in force; `None` without one.
    pub duplicate_of: Option<&'a ClusterKey>,
    /// True if the cluster is the management cluster itself.
    pub is_management: bool,
    /// Declarations of the management cluster.
    pub history: &'a DeclarationHistory,
    /// True if the management cluster has a declaration now.
    pub is_declared: bool,
    /// Rollout of the newest declaration.
    pub waves: &'a DeclarationWaves,
    /// Progress of that rollout.
    pub rollout: &'a str,
}

/// Declaration that is meant for a workload cluster.
pub(super) enum IntendedDeclaration<'a> {
    /// The one with this number, by the annotation of the cluster.
    Pinned(u64),
    /// The one of its namespace; `None` if it is not recorded yet.
    OfNamespace(Option<&'a NamespaceDeclaration>),
    /// The newest one of the management cluster, with its number; `None` before the first.
    Newest(Option<(u64, &'a Arc<Effective>)>),
}

impl<'a> AssignmentInput<'a> {
    /// Returns the declaration that is meant for the cluster.
    pub(super) fn intended(&self) -> IntendedDeclaration<'a> {
        if let Some(revision) = self.entry.settings.pinned_revision {
            IntendedDeclaration::Pinned(revision)
        } else if self.entry.registry_info.is_some() {
            IntendedDeclaration::OfNamespace(self.history.beside(&self.key.namespace))
        } else {
            IntendedDeclaration::Newest(self.history.newest())
        }
    }
}

/// Returns the assignment of a workload cluster.
pub fn assign(input: &AssignmentInput<'_>) -> Assignment {
    let AssignmentInput { key, entry, history, .. } = *input;
    match &entry.access {
        EntryAccess::Waiting(reason) => {
            return Assignment::Wait(WaitReason::Access(reason.clone()));
        }
        EntryAccess::Refused(reason) => {
            return Assignment::Wait(WaitReason::Refused(reason.clone()));
        }
        EntryAccess::Usable { .. } | EntryAccess::Pulls => {}
    }
    if entry.settings.is_paused {
        return Assignment::Wait(WaitReason::Paused);
    }
    // A cluster that pulls reports its identity after the first declaration.
    if input.identity.is_none() && entry.access != EntryAccess::Pulls {
        return Assignment::Identify;
    }
    if input.is_management {
        return Assignment::Wait(WaitReason::ManagementCluster);
    }
    if let Some(other) = input.duplicate_of {
        return Assignment::Wait(WaitReason::Duplicate(other.clone()));
    }
    if entry.settings.is_removed {
        return Assignment::Remove;
    }
    let declaration = |revision, effective: &Arc<Effective>| AssignedDeclaration {
        revision,
        effective: Arc::clone(effective),
    };
    let apply = |revision, effective| Assignment::Apply(declaration(revision, effective));
    let newest = match input.intended() {
        IntendedDeclaration::Pinned(revision) => {
            let pinned = history.get(revision);
            return pinned.map_or(Assignment::Wait(WaitReason::UnknownRevision(revision)), |it| {
                apply(revision, it)
            });
        }
        // Content that was never valid changes nothing: its writer wants another declaration than
        // that of the management cluster, and perhaps another credential.
        IntendedDeclaration::OfNamespace(own) => {
            return match own {
                Some(NamespaceDeclaration { revision, effective: Some(effective), .. }) => {
                    apply(*revision, effective)
                }
                Some(NamespaceDeclaration { refused: Some(reason), .. }) => {
                    Assignment::Wait(WaitReason::Refused(refused_registry_info(reason)))
                }
                _ => Assignment::Wait(WaitReason::Access(format!(
                    "the Secret {REGISTRY_INFO} of the namespace is not recorded yet"
                ))),
            };
        }
        IntendedDeclaration::Newest(newest) => newest,
    };
    match newest {
        None => Assignment::Wait(WaitReason::NoDeclaration),
        Some(_) if !input.is_declared => Assignment::Wait(WaitReason::Orphaned),
        Some((revision, effective)) if input.waves.admits(key) => apply(revision, effective),
        Some(_) => {
            let rollout = input.rollout.to_owned();
            let former = input.waves.former(key).and_then(|it| Some((*it, history.get(*it)?)));
            match former {
                Some((revision, effective)) => {
                    Assignment::Keep(declaration(revision, effective), rollout)
                }
                None => Assignment::Wait(WaitReason::Wave(rollout)),
            }
        }
    }
}

/// Returns `assignment` under the rollout of a bundle, with the progress of that rollout if the
/// cluster `key` keeps its former bundle; `None` if it receives the bundle, or nothing.
pub fn under_bundle(
    assignment: Assignment,
    key: &ClusterKey,
    waves: &BundleWaves,
    rollout: &str,
) -> (Assignment, Option<String>) {
    if waves.admits(key) {
        return (assignment, None);
    }
    let rollout = if rollout.is_empty() { "bundle: waits for its wave" } else { rollout };
    let waits = || Assignment::Wait(WaitReason::Wave(rollout.to_owned()));
    match (&assignment, waves.former(key)) {
        // A cluster takes no part in the rollout of a declaration before its first bundle.
        (Assignment::Wait(WaitReason::Wave(text)), None) if text.is_empty() => (waits(), None),
        _ if assignment.declaration().is_none() => (assignment, None),
        (_, Some(_)) => (assignment, Some(rollout.to_owned())),
        (_, None) => (waits(), None),
    }
}

/// Returns the reason to refuse the Secret `registry-info` beside a cluster. `error` is its error.
pub fn refused_registry_info(error: &str) -> String {
    format!("the Secret {REGISTRY_INFO} of the namespace is invalid: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        control::effective::{Origin, SecretData},
        fleet::{
            inventory::{ClusterSettings, ClusterSource, OriginObject},
            kubeconfig::{RemoteAccess, RemoteCredential},
        },
    };

    fn key() -> ClusterKey {
        let (namespace, name) = ("fleet".into(), "a".into());
        ClusterKey { namespace, source: ClusterSource::ClusterApi, name }
    }

    fn entry() -> InventoryEntry {
        let access = RemoteAccess {
            server: "https://a.example.org".into(),
            tls_server_name: None,
            authority: None,
            credential: RemoteCredential::Token("t".into()),
        };
        InventoryEntry {
            origin: OriginObject {
                api_version: "v1".into(),
                kind: "Secret".into(),
                uid: "u".into(),
            },
            access: EntryAccess::Usable { access, version: "1".into() },
            settings: ClusterSettings::default(),
            registry_info: None,
            labels: [].into(),
        }
    }

    fn effective(domain: &str) -> Effective {
        let data = [("DOMAIN".to_owned(), domain.as_bytes().to_vec())];
        let secret = SecretData { kind: "Opaque".into(), data: data.into() };
        Effective { origin: Origin::RegistryInfo, secret }
    }

    fn history() -> DeclarationHistory {
        let mut history = DeclarationHistory::default();
        for (revision, domain) in [(1, "one"), (2, "two")] {
            history.record(revision, effective(domain), &[].into());
        }
        history
    }

    fn assigned(change: impl FnOnce(&mut InventoryEntry, &mut DeclarationWaves)) -> Assignment {
        let mut waves = DeclarationWaves { target: 2, ..DeclarationWaves::default() };
        let mut entry = entry();
        change(&mut entry, &mut waves);
        assign(&AssignmentInput {
            key: &key(),
            entry: &entry,
            identity: Some("uid"),
            duplicate_of: None,
            is_management: false,
            history: &history(),
            is_declared: true,
            waves: &waves,
            rollout: "waits for fleet/b",
        })
    }

    fn apply(revision: u64, domain: &str) -> Assignment {
        Assignment::Apply(AssignedDeclaration { revision, effective: Arc::new(effective(domain)) })
    }

    #[test]
    fn admitted_cluster_gets_the_newest_declaration() {
        let waiting = Assignment::Wait(WaitReason::Wave("waits for fleet/b".into()));
        assert_eq!(assigned(|_, _| {}), waiting);
        let admit = |waves: &mut DeclarationWaves| {
            waves.admitted.insert("fleet/a".into());
        };
        assert_eq!(assigned(|_, waves| admit(waves)), apply(2, "two"));
        let pin = |number| {
            assigned(|entry, waves| {
                admit(waves);
                entry.settings.pinned_revision = Some(number);
            })
        };
        assert_eq!(pin(1), apply(1, "one"));
        assert_eq!(pin(9), Assignment::Wait(WaitReason::UnknownRevision(9)));
    }

    #[test]
    fn waiting_cluster_keeps_its_last_declaration() {
        let former = |number| {
            assigned(|_, waves| {
                waves.former.insert("fleet/a".into(), number);
            })
        };
        let declaration =
            AssignedDeclaration { revision: 1, effective: Arc::new(effective("one")) };
        assert_eq!(former(1), Assignment::Keep(declaration, "waits for fleet/b".into()));
        // A declaration that is no longer kept.
        assert_eq!(former(9), Assignment::Wait(WaitReason::Wave("waits for fleet/b".into())));
    }

    #[test]
    fn administrator_decides_before_waves() {
        let paused = assigned(|entry, _| entry.settings.is_paused = true);
        assert_eq!(paused, Assignment::Wait(WaitReason::Paused));
        assert_eq!(assigned(|entry, _| entry.settings.is_removed = true), Assignment::Remove);
        let refused = assigned(|entry, _| entry.access = EntryAccess::Refused("exec".into()));
        assert_eq!(refused, Assignment::Wait(WaitReason::Refused("exec".into())));
    }

    #[test]
    fn waiting_cluster_keeps_its_last_bundle() {
        let under = |assignment: &Assignment, waves: &BundleWaves| {
            under_bundle(assignment.clone(), &key(), waves, "bundle: stopped")
        };
        let mut waves = BundleWaves { target: "b".into(), ..BundleWaves::default() };
        let assignment = apply(2, "two");
        let waiting = Assignment::Wait(WaitReason::Wave("bundle: stopped".into()));
        assert_eq!(under(&assignment, &waves), (waiting.clone(), None), "nothing is there");
        let silent = Assignment::Wait(WaitReason::Wave(String::new()));
        assert_eq!(under(&silent, &waves), (waiting, None), "no rollout of a declaration");
        waves.former.insert("fleet/a".into(), "a".into());
        let kept = (assignment.clone(), Some("bundle: stopped".to_owned()));
        assert_eq!(under(&assignment, &waves), kept);
        assert_eq!(under(&Assignment::Remove, &waves), (Assignment::Remove, None));
        waves.admitted.insert("fleet/a".into());
        assert_eq!(under(&assignment, &waves), (assignment, None));
    }

    #[test]
    fn deleted_declaration_changes_no_cluster() {
        let input = AssignmentInput {
            key: &key(),
            entry: &entry(),
            identity: Some("uid"),
            duplicate_of: None,
            is_management: false,
            history: &history(),
            is_declared: false,
            waves: &DeclarationWaves {
                admitted: ["fleet/a".into()].into(),
                ..DeclarationWaves::default()
            },
            rollout: "",
        };
        assert_eq!(assign(&input), Assignment::Wait(WaitReason::Orphaned));
        let other = ClusterKey { name: "b".into(), ..key() };
        let duplicate = AssignmentInput { duplicate_of: Some(&other), ..input };
        assert_eq!(assign(&duplicate), Assignment::Wait(WaitReason::Duplicate(other.clone())));
        let management = AssignmentInput { is_management: true, ..duplicate };
        assert_eq!(assign(&management), Assignment::Wait(WaitReason::ManagementCluster));
        let none = AssignmentInput { history: &DeclarationHistory::default(), ..input };
        assert_eq!(assign(&none), Assignment::Wait(WaitReason::NoDeclaration));
        let unknown = AssignmentInput { identity: None, ..input };
        assert_eq!(assign(&unknown), Assignment::Identify);
        let pulls = InventoryEntry { access: EntryAccess::Pulls, ..entry() };
        let pulls = AssignmentInput { entry: &pulls, ..unknown };
        assert_eq!(assign(&pulls), Assignment::Wait(WaitReason::Orphaned));
    }

    /// Returns the assignment of a cluster with a Secret `registry-info` beside it.
    fn assigned_beside(own: Option<NamespaceDeclaration>) -> Assignment {
        let mut history = history();
        if let Some(own) = own {
            history.set_beside("fleet".into(), own);
        }
        let secret = effective("any").secret;
        let entry = InventoryEntry { registry_info: Some(secret.into()), ..entry() };
        assign(&AssignmentInput {
            key: &key(),
            entry: &entry,
            identity: Some("uid"),
            duplicate_of: None,
            is_management: false,
            history: &history,
            is_declared: false,
            waves: &DeclarationWaves::default(),
            rollout: "",
        })
    }

    #[test]
    fn registry_info_of_namespace_precedes_the_declaration() {
        let effective = Some(Arc::new(effective("beside")));
        let valid = NamespaceDeclaration { revision: 1, effective, refused: None };
        assert_eq!(assigned_beside(Some(valid.clone())), apply(1, "beside"));
        // The last valid content stays in force.
        let invalid = NamespaceDeclaration { refused: Some("no DOMAIN".into()), ..valid };
        assert_eq!(assigned_beside(Some(invalid)), apply(1, "beside"));
    }

    #[test]
    fn invalid_registry_info_brings_no_other_declaration() {
        let refused = Some("no DOMAIN".to_owned());
        let invalid = NamespaceDeclaration { refused, ..NamespaceDeclaration::default() };
        let reason = "the Secret registry-info of the namespace is invalid: no DOMAIN".to_owned();
        let expected = Assignment::Wait(WaitReason::Refused(reason));
        assert_eq!(assigned_beside(Some(invalid)), expected);
        for unknown in [None, Some(NamespaceDeclaration::default())] {
            let found = assigned_beside(unknown);
            assert!(matches!(found, Assignment::Wait(WaitReason::Access(_))), "{found:?}");
        }
    }
}
