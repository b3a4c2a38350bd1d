//! What nodes have to be told before they can pull swapped images.
//!
//! A pod that names the company's registry is pulled by its node, which knows
//! nothing of the declaration: an authority of one's own, a certificate that is
//! taken unseen, and plain HTTP each need something on the node itself.

use std::fmt::{self, Write as _};

use crate::{declaration::Declaration, rule::Target};

/// One thing that nodes have to be told of a host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Not to verify its certificate.
    Unverified(String),
    /// The authority that signs for it.
    Authority(String),
    /// To speak plain HTTP to it.
    PlainHttp(String),
}

impl fmt::Display for Need {
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

/// All that nodes have to be told; nothing if they can pull as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// What, each once, in order.
    pub needs: Vec<Need>,
    /// The authorities, PEM.
    authorities: String,
}

impl Trust {
    /// What `declaration` needs: of hosts alone that a rule sends images to.
    pub fn of(declaration: &Declaration) -> Self {
        let rules = declaration.rules().rules().iter();
        let targets: Vec<Target> = rules.filter_map(|rule| rule.parse_target()?.ok()).collect();
        let mut trust = Self::default();
        let registry = declaration.registry.as_ref();
        // Both are about certificates: over plain HTTP there are none.
        let by_tls = |domain: &str| {
            targets.iter().any(|target| target.domain() == domain && !target.is_plain_http())
        };
        if let Some(registry) = registry.filter(|registry| by_tls(&registry.domain)) {
            if registry.insecure {
                trust.needs.push(Need::Unverified(registry.domain.clone()));
            } else if !registry.ca.is_empty() {
                trust.needs.push(Need::Authority(registry.domain.clone()));
                registry.ca.pem().clone_into(&mut trust.authorities);
            }
        }
        let plain = targets.iter().filter(|target| target.is_plain_http());
        trust.needs.extend(plain.map(|target| Need::PlainHttp(target.domain().to_owned())));
        trust.needs.sort();
        trust.needs.dedup();
        trust
    }

    /// What tells one need from another: nodes that were told this need not be
    /// told again. Empty: there is nothing to tell.
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
    use crate::declaration::Source;

    const PEM: &str = include_str!("authority.pem");

    fn needs(insecure: bool, authority: bool, mirrors: &str) -> Vec<String> {
        trust(insecure, authority, mirrors).needs.iter().map(ToString::to_string).collect()
    }

    fn trust(insecure: bool, authority: bool, mirrors: &str) -> Trust {
        let authority = if authority { PEM } else { "" };
        let secret = serde_json::json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": "registry-info", "namespace": "jet-system" },
            "stringData": {
                "DOMAIN": "h.example.org", "BASE_PATH": "", "INSECURE": insecure.to_string(),
                "CA_CERT": authority, "MIRROR_REGISTRIES": mirrors,
            },
        });
        Trust::of(&Declaration::read(Source::RegistryInfo, &secret.to_string(), 0).unwrap())
    }

    #[test]
    fn a_public_authority_needs_nothing() {
        let trust = trust(false, false, "docker.io::h.example.org/d");
        assert_eq!((trust.needs.len(), trust.text()), (0, String::new()));
    }

    #[test]
    fn what_the_declared_host_needs_is_told_once() {
        let both = "docker.io::h.example.org/d,gcr.io::h.example.org/g";
        assert_eq!(
            needs(true, false, both),
            ["nodes must not verify the certificate of h.example.org (INSECURE)"]
        );
        let authority = ["nodes must trust the authority of h.example.org (CA_CERT)"];
        assert_eq!(needs(false, true, both), authority);
        for rule in ["[EXACT]nginx::h.example.org/n:1", "default::h.example.org/all"] {
            assert_eq!(needs(false, true, rule), authority, "{rule}");
        }
        // A certificate that is taken unseen needs no authority.
        assert_eq!(needs(true, true, both).len(), 1);
    }

    #[test]
    fn a_host_that_no_rule_sends_to_needs_nothing() {
        for rules in ["docker.io::other.example.org/d", "noswap_wildcards::h.example.org"] {
            assert!(needs(true, true, rules).is_empty(), "{rules}");
        }
    }

    #[test]
    fn plain_http_is_told_of_any_host_and_has_no_certificate() {
        let mirrors = "docker.io::http://h.example.org/d,gcr.io::http://b.example.org:5000,\
                       quay.io::http://b.example.org:5000/q";
        assert_eq!(
            needs(false, true, mirrors),
            [
                "nodes must speak plain HTTP to b.example.org:5000",
                "nodes must speak plain HTTP to h.example.org",
            ]
        );
    }

    #[test]
    fn another_authority_is_another_thing_to_tell() {
        let one = trust(false, true, "docker.io::h.example.org/d").text();
        let none = trust(true, true, "docker.io::h.example.org/d").text();
        assert!(one.contains("BEGIN CERTIFICATE") && one != none);
    }
}
