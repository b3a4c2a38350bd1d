//! The Secret with which nodes pull swapped images: in each namespace that
//! holds a swapped pod, and nowhere else.

mod swapped;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, json};

pub use self::swapped::Swapped;
use crate::{
    declaration::{Declaration, Registry},
    rule::{Kind, Target},
};

/// The Secret's name, in every namespace.
pub const NAME: &str = "image-swap-pull";
/// The label that says a Secret is ours; its value is the release's name.
pub const MANAGED_BY: &str = "image-swap.io/managed-by";
/// The Secret's type.
pub const TYPE: &str = "kubernetes.io/dockerconfigjson";
/// The key of its data.
pub const KEY: &str = ".dockerconfigjson";

/// The images that the credential is for: those below one of these hosts, each
/// alone or with a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Covered(BTreeSet<String>);

impl Covered {
    /// What the credential of `declaration` is for, whether or not it has one:
    /// replicas ask, who are not told credentials. `None` without a registry.
    ///
    /// A node takes the Secret's key that is the longest prefix of an image, so
    /// that the base path leaves the rest of the registry to other Secrets; what
    /// the rules fetch from elsewhere on this host needs the whole host.
    pub fn of(declaration: &Declaration) -> Option<Self> {
        let Registry { domain, base_path, .. } = declaration.registry.as_ref()?;
        if base_path.is_empty() {
            return Some(Self([domain.clone()].into()));
        }
        let base = format!("{domain}/{base_path}");
        let rules = declaration.rules().rules().iter();
        let mut targets = rules.filter_map(|rule| match rule.kind {
            Kind::Noswap => None,
            Kind::Exact => Target::of_exact(&rule.target).ok(),
            Kind::Prefix | Kind::Replace | Kind::Default => Target::parse(&rule.target).ok(),
        });
        let elsewhere = targets.any(|target| {
            target.domain() == domain && !is_below(target.path(), base_path, &PATH_ENDS)
        });
        Some(Self(if elsewhere { [base, domain.clone()].into() } else { [base].into() }))
    }

    /// Whether `image`, written as rules write it, is pulled with the credential.
    pub fn covers(&self, image: &str) -> bool {
        self.0.iter().any(|key| {
            // What follows a host is a path, or another port.
            let ends = if key.contains('/') { &PATH_ENDS[..] } else { &PATH_ENDS[..1] };
            is_below(image, key, ends)
        })
    }
}

/// What may follow a path in an image.
const PATH_ENDS: [char; 3] = ['/', ':', '@'];

fn is_below(path: &str, base: &str, ends: &[char]) -> bool {
    path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with(ends))
}

/// The content of the Secret for `declaration`; `None` if nobody has to
/// authenticate. It holds the password: it goes into Secrets, and nowhere else.
pub fn content(declaration: &Declaration) -> Option<Vec<u8>> {
    let registry = declaration.registry.as_ref()?;
    let basic = registry.basic()?;
    let auth = json!({
        "username": registry.username.expose(),
        "password": registry.password.expose(),
        "auth": basic,
    });
    let Covered(keys) = Covered::of(declaration)?;
    let auths: Map<_, _> = keys.into_iter().map(|key| (key, auth.clone())).collect();
    Some(json!({ "auths": auths }).to_string().into_bytes())
}

/// A Secret of our name, as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Existing {
    /// Whether it has our label, with this release's name.
    pub ours: bool,
    /// Whether it holds what it should.
    pub current: bool,
}

/// What to do in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make the Secret.
    Create,
    /// Write it anew.
    Update,
    /// Remove it.
    Delete,
    /// Report that somebody else's Secret has our name: it stays as it is.
    Foreign,
}

/// What to do, by namespace.
///
/// `wanted`: whether there is a credential at all. `swapped`: the namespaces
/// that hold a swapped pod. `existing`: the Secrets of our name.
pub fn plan(
    wanted: bool,
    swapped: &BTreeSet<String>,
    existing: &BTreeMap<String, Existing>,
) -> BTreeMap<String, Action> {
    let mut actions = BTreeMap::new();
    for namespace in swapped.iter().filter(|_| wanted) {
        let action = match existing.get(namespace) {
            None => Action::Create,
            Some(Existing { ours: false, .. }) => Action::Foreign,
            Some(Existing { current: false, .. }) => Action::Update,
            Some(_) => continue,
        };
        actions.insert(namespace.clone(), action);
    }
    for (namespace, secret) in existing {
        if secret.ours && !(wanted && swapped.contains(namespace)) {
            actions.insert(namespace.clone(), Action::Delete);
        }
    }
    actions
}

#[cfg(test)]
#[path = "tests/pull_secrets.rs"]
mod tests;
