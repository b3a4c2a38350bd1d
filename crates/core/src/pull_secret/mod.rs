//! The pull Secret: the credential with which nodes pull swapped images, and the images that it
//! covers.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::declaration::{Declaration, Registry};

/// Name of the Secret, in every namespace.
pub const NAME: &str = "image-swap-pull";
/// Type of the Secret.
pub const TYPE: &str = "kubernetes.io/dockerconfigjson";
/// Key of the Secret's data.
pub const KEY: &str = ".dockerconfigjson";

/// The images that the credential covers: those below one of these hosts, each alone or with a
/// path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoveredImages(BTreeSet<String>);

impl CoveredImages {
    /// Returns the images that the credential of `declaration` covers; `None` without a
    /// registry. Replicas need them without the credential, so a missing credential does not
    /// matter.
    ///
    /// A node uses the Secret's key that is the longest prefix of an image. Keys end in the
    /// base path, so that other Secrets can serve the rest of the registry. Rules with a target
    /// outside of the base path need the whole host.
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
        // The base path belongs to DOMAIN: its other hosts are covered as a whole.
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

    /// Returns true if nodes pull `image`, in the spelling of swapped images, with the
    /// credential.
    pub fn covers(&self, image: &str) -> bool {
        self.0.iter().any(|key| {
            // After a host only a path may follow: another port is another host.
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

/// Characters that may follow a path in an image.
const PATH_ENDS: [char; 3] = ['/', ':', '@'];

fn is_below(path: &str, base: &str, ends: &[char]) -> bool {
    path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with(ends))
}

/// Returns the content of the Secret for `declaration`; `None` for anonymous pulls. It contains
/// the password, and may only be written to Secrets.
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
