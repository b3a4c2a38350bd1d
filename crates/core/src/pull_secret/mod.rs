//! The pull Secret: the credential with which nodes pull swapped images, and the images
//! that it is for.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::declaration::{Declaration, Registry};

/// The Secret's name, in every namespace.
pub const NAME: &str = "image-swap-pull";
/// The Secret's type.
pub const TYPE: &str = "kubernetes.io/dockerconfigjson";
/// The key of its data.
pub const KEY: &str = ".dockerconfigjson";

/// The images that the credential is for: those below one of these hosts, each
/// alone or with a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoveredImages(BTreeSet<String>);

impl CoveredImages {
    /// What the credential of `declaration` is for, whether or not it has one:
    /// replicas ask, who are not told credentials. `None` without a registry.
    ///
    /// A node takes the Secret's key that is the longest prefix of an image, so
    /// that the base path leaves the rest of the registry to other Secrets; what
    /// the rules fetch from elsewhere on this host needs the whole host.
    pub fn of(declaration: &Declaration) -> Option<Self> {
        let registry = declaration.registry.as_ref()?;
        let Registry { domain, base_path, .. } = registry;
        let rules = declaration.rules().rules().iter();
        let targets = rules.filter_map(|rule| rule.parse_target()?.ok());
        let is_cut = CUT_FROM_KEYS.iter().any(|prefix| base_path.starts_with(prefix));
        let mut keys = BTreeSet::new();
        keys.insert(match base_path.as_str() {
            "" => domain.clone(),
            _ if is_cut => domain.clone(),
            path => format!("{domain}/{path}"),
        });
        // The base path is one of DOMAIN: its other hosts are covered as a whole.
        for target in targets.filter(|target| registry.covers(target.domain())) {
            if target.domain() != domain || !is_below(target.path(), base_path, &PATH_ENDS) {
                keys.insert(target.domain().to_owned());
            }
        }
        Some(Self(keys))
    }

    /// Returns true if image-swap swapped an image of a pod, and a node pulls it with the
    /// credential.
    ///
    /// `record` is the annotation with the original images
    /// ([`ORIGINAL_IMAGES`](crate::labels::ORIGINAL_IMAGES)), `images` are the keys of that record
    /// with the images that the pod has. The record alone proves nothing: its author may be
    /// anyone.
    pub fn pulls_swapped<'i>(
        &self,
        record: &str,
        mut images: impl Iterator<Item = (&'i str, &'i str)>,
    ) -> bool {
        let Ok(Value::Object(record)) = serde_json::from_str(record) else { return false };
        images.any(|(key, image)| {
            let original = record.get(key).and_then(Value::as_str);
            original.is_some_and(|original| original != image) && self.covers(image)
        })
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

/// Paths that the kubelet cuts from the beginning of a key's path, so that a key with one
/// would match other images.
///
/// Source: Kubernetes, `pkg/credentialprovider/keyring.go`, `BasicDockerKeyring.Add`.
const CUT_FROM_KEYS: [&str; 2] = ["v1/", "v2/"];

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
    let CoveredImages(keys) = CoveredImages::of(declaration)?;
    let auths: Map<_, _> = keys.into_iter().map(|key| (key, auth.clone())).collect();
    Some(json!({ "auths": auths }).to_string().into_bytes())
}

#[cfg(test)]
mod tests;
