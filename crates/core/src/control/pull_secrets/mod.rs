//! The Secret with which nodes pull swapped images: in each namespace that
//! holds a swapped pod, and nowhere else.

mod used;

use std::collections::{BTreeMap, BTreeSet};

pub use self::used::{Pods, SecretUse};
/// A Secret of our name, as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullSecretState {
    /// True if its label names this release, or it was kept for pods of a former one.
    pub ours: bool,
    /// True if it holds the credential as declared, and no owner would have it deleted.
    pub current: bool,
    /// True if a release owns it, so that it would be deleted with that release.
    pub anchored: bool,
}

/// An action in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullSecretAction {
    /// Make the Secret.
    Create,
    /// Write it anew.
    Update,
    /// Remove it.
    Delete,
    /// Remove the release from its owners: a living pod names it.
    Release,
    /// Report that somebody else's Secret has our name: it stays as it is.
    Foreign,
}

/// Plans an action for each namespace that needs one.
///
/// `wanted` is true if there is a credential to give. `swapped` are the namespaces of the
/// registration that hold a swapped pod, `named` those with a living pod that names the
/// Secret: since Kubernetes 1.35 the kubelet looks for the credential again when such a
/// pod's container restarts. `existing` are the Secrets of this name.
pub fn plan(
    wanted: bool,
    swapped: &BTreeSet<String>,
    named: &BTreeSet<String>,
    existing: &BTreeMap<String, PullSecretState>,
) -> BTreeMap<String, PullSecretAction> {
    let mut actions = BTreeMap::new();
    for namespace in swapped.iter().filter(|_| wanted) {
        let action = match existing.get(namespace) {
            // Where no pod may start it would wait for the release to leave.
            None if named.contains(namespace) => PullSecretAction::Create,
            Some(PullSecretState { ours: false, .. }) => PullSecretAction::Foreign,
            Some(PullSecretState { current: false, .. }) => PullSecretAction::Update,
            None | Some(_) => continue,
        };
        actions.insert(namespace.clone(), action);
    }
    for (namespace, secret) in existing {
        if !secret.ours || wanted && swapped.contains(namespace) {
            continue;
        }
        if !named.contains(namespace) {
            actions.insert(namespace.clone(), PullSecretAction::Delete);
        } else if secret.anchored {
            actions.insert(namespace.clone(), PullSecretAction::Release);
        }
    }
    actions
}

#[cfg(test)]
mod tests;
