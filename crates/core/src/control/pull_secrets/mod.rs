//! Plans the Secret with which nodes pull swapped images, in each namespace with a swapped pod.

mod used;

use std::collections::{BTreeMap, BTreeSet};

pub use self::used::{Pods, SecretUse};
/// State of a Secret with image-swap's name for pull Secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullSecretState {
    /// True if its label names this release, or it was kept for pods of a former release.
    pub managed: bool,
    /// True if it contains the declared credential, and no owner would have it deleted.
    pub current: bool,
    /// True if a release owns it, so that the garbage collector deletes it with that release.
    pub anchored: bool,
}

/// An action in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullSecretAction {
    /// Create the Secret.
    Create,
    /// Update the Secret.
    Update,
    /// Delete the Secret.
    Delete,
    /// Remove the release from its owners: a living pod refers to it.
    Release,
    /// Report that the Secret with this name belongs to another owner, and skip it.
    Foreign,
}

/// Plans an action for each namespace that needs one.
///
/// `wanted` is true if a credential is declared. `swapped` are the selected namespaces with a
/// swapped pod, and `named` those with a living pod that refers to the Secret. Since Kubernetes
/// 1.35 the kubelet reads the credential again at a restart of such a pod's container.
/// `existing` are the Secrets with this name.
///
/// # Examples
/// ```
/// use std::collections::{BTreeMap, BTreeSet};
///
/// use image_swap_core::control::pull_secrets::{PullSecretAction, PullSecretState, plan};
///
/// let apps = BTreeSet::from(["apps".to_owned()]);
/// let actions = plan(true, &apps, &apps, &BTreeMap::new());
/// assert_eq!(actions["apps"], PullSecretAction::Create);
///
/// let unused = PullSecretState { managed: true, current: true, anchored: false };
/// let existing = BTreeMap::from([("apps".to_owned(), unused)]);
/// let actions = plan(true, &BTreeSet::new(), &BTreeSet::new(), &existing);
/// assert_eq!(actions["apps"], PullSecretAction::Delete);
/// ```
pub fn plan(
    wanted: bool,
    swapped: &BTreeSet<String>,
    named: &BTreeSet<String>,
    existing: &BTreeMap<String, PullSecretState>,
) -> BTreeMap<String, PullSecretAction> {
    let mut actions = BTreeMap::new();
    for namespace in swapped.iter().filter(|_| wanted) {
        let action = match existing.get(namespace) {
            // In a namespace without new pods the Secret would wait until the release is
            // removed.
            None if named.contains(namespace) => PullSecretAction::Create,
            Some(PullSecretState { managed: false, .. }) => PullSecretAction::Foreign,
            Some(PullSecretState { current: false, .. }) => PullSecretAction::Update,
            None | Some(_) => continue,
        };
        actions.insert(namespace.clone(), action);
    }
    for (namespace, secret) in existing {
        if !secret.managed || wanted && swapped.contains(namespace) {
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
