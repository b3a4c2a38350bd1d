//! The declaration that pods are swapped by while nodes do not trust its registries yet.
//!
//! A swapped pod cannot start on a node that does not trust its registry. A declaration that
//! changes the trust therefore reaches nodes before pods. Afterwards no node takes it back: a
//! new node without trust affects its own pods, and a release that swaps no pod affects all.

use crate::{admission::Mode, control::trust::NodeTrust, status::ServedDeclaration};

/// The declaration that pods are swapped by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PodSwapping {
    /// The declaration in force.
    #[default]
    InForce,
    /// No declaration until nodes trust the one in force: replicas only report on pods.
    Audited,
    /// The one that replicas serve already, until nodes trust the declaration in force.
    Served,
}

/// Decides on the declaration that pods are swapped by.
///
/// `trust` has the requirements of the declaration in force, and `are_nodes_ready` is true if it
/// is in force on all nodes that count. `served` is the one that replicas serve; `None` before
/// the first.
pub fn decide(
    trust: &NodeTrust,
    served: Option<&ServedDeclaration>,
    are_nodes_ready: bool,
) -> PodSwapping {
    if trust.needs.is_empty() || are_nodes_ready {
        return PodSwapping::InForce;
    }
    let served = served.filter(|it| it.mode != Some(Mode::Audit));
    let served = served.and_then(|it| it.effective.declaration());
    match served.filter(|it| !it.rules().rules().is_empty()) {
        // Only rules changed.
        Some(served) if NodeTrust::of(&served).text() == trust.text() => PodSwapping::InForce,
        Some(_) => PodSwapping::Served,
        None => PodSwapping::Audited,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::effective::{Effective, Origin, SecretData};

    const ONE: &str = include_str!("trust/authority.pem");
    const RULE: &str = "docker.io::h.example.org/d";

    /// Returns a declaration with these values of INSECURE, `CA_CERT` and `MIRROR_REGISTRIES`.
    fn effective((insecure, authority, rules): (&str, &str, &str)) -> Effective {
        let data = [
            ("DOMAIN", "h.example.org"),
            ("BASE_PATH", ""),
            ("USERNAME", "robot"),
            ("PASSWORD", "s3cret"),
            ("INSECURE", insecure),
            ("CA_CERT", authority),
            ("MIRROR_REGISTRIES", rules),
        ];
        let data = data.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()));
        let secret = SecretData { kind: "Opaque".into(), data: data.into() };
        Effective { origin: Origin::RegistryInfo, secret }
    }

    fn trust(effective: &Effective) -> NodeTrust {
        effective.declaration().as_ref().map(NodeTrust::of).unwrap_or_default()
    }

    fn served(effective: &Effective, mode: Mode) -> ServedDeclaration {
        let effective = effective.without_credentials();
        ServedDeclaration { effective, mode: Some(mode), pull_secret: true }
    }

    // guarantee: 4h
    #[test]
    fn pods_wait_only_for_trust_that_changes() {
        let public = ("false", "", RULE);
        let private = ("false", ONE, RULE);
        let private_more = ("false", ONE, "docker.io::h.example.org/d,gcr.io::h.example.org/g");
        let insecure = ("true", "", RULE);
        let plain = ("false", "", "docker.io::http://h.example.org/d");
        let empty = ("false", ONE, "");
        let (enforce, audit) = (Mode::Enforce, Mode::Audit);
        for (wanted, before, until_ready) in [
            // Nodes need nothing.
            (public, None, PodSwapping::InForce),
            (public, Some((private, enforce)), PodSwapping::InForce),
            (public, Some((private, audit)), PodSwapping::InForce),
            // Nothing was swapped before.
            (private, None, PodSwapping::Audited),
            (private, Some((empty, enforce)), PodSwapping::Audited),
            (private, Some((private, audit)), PodSwapping::Audited),
            (insecure, Some((public, audit)), PodSwapping::Audited),
            (plain, None, PodSwapping::Audited),
            // Nodes trust it already: none takes it back.
            (private, Some((private, enforce)), PodSwapping::InForce),
            (private_more, Some((private, enforce)), PodSwapping::InForce),
            // The trust changes.
            (private, Some((public, enforce)), PodSwapping::Served),
            (private, Some((insecure, enforce)), PodSwapping::Served),
            (insecure, Some((private, enforce)), PodSwapping::Served),
            (plain, Some((private, enforce)), PodSwapping::Served),
        ] {
            let trust = trust(&effective(wanted));
            let served = before.map(|(before, mode)| served(&effective(before), mode));
            let found = decide(&trust, served.as_ref(), false);
            assert_eq!(found, until_ready, "{wanted:?} after {before:?}");
            assert_eq!(decide(&trust, served.as_ref(), true), PodSwapping::InForce);
        }
        // No declaration.
        let none = ServedDeclaration {
            effective: Effective::none(),
            ..served(&effective(private), enforce)
        };
        let trust = trust(&effective(private));
        assert_eq!(decide(&trust, Some(&none), false), PodSwapping::Audited);
        assert_eq!(decide(&NodeTrust::default(), Some(&none), false), PodSwapping::InForce);
    }
}
