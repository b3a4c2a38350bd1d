//! The changes that nodes need before they can pull swapped images.
//!
//! A pod that names the declared registry is pulled by its node, whose runtime does not read the
//! declaration. A private authority, an unverified certificate and plain HTTP each need a setting
//! on the node itself.

use std::fmt::{self, Write as _};

use crate::{declaration::Declaration, rule::Target};

/// A setting that a node needs for one registry host. Each variant contains the host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeRequirement {
    /// The runtime must not verify the certificate of the host.
    Unverified(String),
    /// The runtime must trust the declared authority of the host.
    Authority(String),
    /// The runtime must use plain HTTP for the host.
    PlainHttp(String),
}

impl fmt::Display for NodeRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unverified(host) => {
                write!(f, "nodes must not verify the certificate of {host} (INSECURE)")
            }
            Self::Authority(host) => {
                write!(f, "nodes must trust the authority of {host} (CA_CERT)")
            }
            Self::PlainHttp(host) => write!(f, "nodes must speak plain HTTP to {host}"),
        }
    }
}

/// All settings that nodes need; empty if nodes can pull without a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeTrust {
    /// The requirements, sorted and without duplicates.
    pub needs: Vec<NodeRequirement>,
    /// The certificates of the authorities, PEM; empty if none is required.
    authorities: String,
}

impl NodeTrust {
    /// Returns the requirements of `declaration`. Only hosts to which a rule sends images count.
    pub fn of(declaration: &Declaration) -> Self {
        let rules = declaration.rules().rules().iter();
        let targets: Vec<Target> = rules.filter_map(|rule| rule.parse_target()?.ok()).collect();
        let mut trust = Self::default();
        let registry = declaration.registry.as_ref();
        // INSECURE and CA_CERT concern certificates, and plain HTTP has none.
        let by_tls = |domain: &str| {
            targets.iter().any(|target| target.domain() == domain && !target.is_plain_http())
        };
        if let Some(registry) = registry.filter(|registry| by_tls(&registry.domain)) {
            if registry.insecure {
                trust.needs.push(NodeRequirement::Unverified(registry.domain.clone()));
            } else if !registry.ca.is_empty() {
                trust.needs.push(NodeRequirement::Authority(registry.domain.clone()));
                registry.ca.pem().clone_into(&mut trust.authorities);
            }
        }
        let plain = targets.iter().filter(|target| target.is_plain_http());
        trust
            .needs
            .extend(plain.map(|target| NodeRequirement::PlainHttp(target.domain().to_owned())));
        trust.needs.sort();
        trust.needs.dedup();
        trust
    }

    /// Returns a text that differs for different requirements; empty without requirements. A node
    /// annotated with its hash already has them.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for need in &self.needs {
            let _ = writeln!(text, "{need}");
        }
        text + &self.authorities
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declaration::DeclarationSource;

    const PEM: &str = include_str!("authority.pem");

    fn requirements(insecure: bool, authority: bool, mirrors: &str) -> Vec<String> {
        trust(insecure, authority, mirrors).needs.iter().map(ToString::to_string).collect()
    }

    fn trust(insecure: bool, authority: bool, mirrors: &str) -> NodeTrust {
        let authority = if authority { PEM } else { "" };
        let secret = serde_json::json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": "registry-info", "namespace": "jet-system" },
            "stringData": {
                "DOMAIN": "h.example.org", "BASE_PATH": "", "INSECURE": insecure.to_string(),
                "CA_CERT": authority, "MIRROR_REGISTRIES": mirrors,
            },
        });
        NodeTrust::of(
            &Declaration::read(DeclarationSource::RegistryInfo, &secret.to_string(), 0).unwrap(),
        )
    }

    #[test]
    fn a_public_authority_needs_nothing() {
        let trust = trust(false, false, "docker.io::h.example.org/d");
        assert_eq!((trust.needs.len(), trust.text()), (0, String::new()));
    }

    #[test]
    fn requirement_of_the_declared_host_is_listed_once() {
        let both = "docker.io::h.example.org/d,gcr.io::h.example.org/g";
        assert_eq!(
            requirements(true, false, both),
            ["nodes must not verify the certificate of h.example.org (INSECURE)"]
        );
        let authority = ["nodes must trust the authority of h.example.org (CA_CERT)"];
        assert_eq!(requirements(false, true, both), authority);
        for rule in ["[EXACT]nginx::h.example.org/n:1", "default::h.example.org/all"] {
            assert_eq!(requirements(false, true, rule), authority, "{rule}");
        }
        // An unverified certificate needs no authority.
        assert_eq!(requirements(true, true, both).len(), 1);
    }

    #[test]
    fn host_without_rules_needs_nothing() {
        for rules in ["docker.io::other.example.org/d", "noswap_wildcards::h.example.org"] {
            assert!(requirements(true, true, rules).is_empty(), "{rules}");
        }
    }

    #[test]
    fn plain_http_is_required_for_any_host() {
        let mirrors = "docker.io::http://h.example.org/d,gcr.io::http://b.example.org:5000,\
                       quay.io::http://b.example.org:5000/q";
        assert_eq!(
            requirements(false, true, mirrors),
            [
                "nodes must speak plain HTTP to b.example.org:5000",
                "nodes must speak plain HTTP to h.example.org",
            ]
        );
    }

    #[test]
    fn other_authority_is_another_requirement() {
        let one = trust(false, true, "docker.io::h.example.org/d").text();
        let none = trust(true, true, "docker.io::h.example.org/d").text();
        assert!(one.contains("BEGIN CERTIFICATE") && one != none);
    }
}
