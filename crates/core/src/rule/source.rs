//! The source of a rule: a host, perhaps with a port, perhaps with a path.

use std::borrow::Cow;

use crate::reference::{DOCKER_DOMAIN, LEGACY_DOCKER_DOMAIN, is_domain, is_path};

/// A source that references can match.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleSource {
    text: String,
    /// The byte at which the host, with its port, ends.
    domain_end: usize,
}

impl RuleSource {
    /// Reads a source. `None`: no reference can ever match it.
    ///
    /// The host is normalised as in references, so that a rule for
    /// `index.docker.io` speaks of `docker.io`, and is in lower case: see `compared`.
    pub fn parse(source: &str) -> Option<Self> {
        let (domain, path) = source.split_once('/').unwrap_or((source, ""));
        let well_formed = is_registry(domain) && (domain.len() == source.len() || is_path(path));
        if !well_formed {
            return None;
        }
        let domain = compared(domain);
        let slash = if path.is_empty() { "" } else { "/" };
        Some(Self { text: [&domain, slash, path].concat(), domain_end: domain.len() })
    }

    /// The whole key, normalised.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host without its port.
    pub fn host(&self) -> &str {
        &self.text[..host_length(self.domain())]
    }

    /// The host with its port.
    pub fn domain(&self) -> &str {
        &self.text[..self.domain_end]
    }

    /// Whether it names a port.
    pub fn has_port(&self) -> bool {
        self.host() != self.domain()
    }

    /// The path below the domain; empty for a whole registry.
    pub fn path(&self) -> &str {
        self.text.get(self.domain_end + 1..).unwrap_or("")
    }
}

/// Does normalisation take `domain`, standing before a `/`, for a registry?
pub(crate) fn is_registry(domain: &str) -> bool {
    let taken = domain == "localhost"
        || domain.bytes().any(|b| matches!(b, b'.' | b':') || b.is_ascii_uppercase());
    taken && is_domain(domain)
}

/// Returns `domain` in the form in which rules compare it: in lower case, as DNS has it,
/// and Docker Hub under its one name.
///
/// Container runtimes compare hosts by case, and DNS does not: `GCR.io/a` has no mirror on
/// a node and is pulled from `gcr.io`. So rules match it, and its pod gets the mirror.
pub(crate) fn compared(domain: &str) -> Cow<'_, str> {
    let domain = if domain.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(domain.to_ascii_lowercase())
    } else {
        Cow::Borrowed(domain)
    };
    if domain == LEGACY_DOCKER_DOMAIN { Cow::Borrowed(DOCKER_DOMAIN) } else { domain }
}

/// How long the host is before a port: the digits that end a domain after a colon.
/// `[::1]` has its colons inside brackets.
pub(crate) fn host_length(domain: &str) -> usize {
    let host = domain.trim_end_matches(|c: char| c.is_ascii_digit()).strip_suffix(':');
    host.map_or(domain.len(), str::len)
}

/// Is `name` the name `below`, or below it on a component boundary?
pub(crate) fn is_below(name: &str, below: &str) -> bool {
    name.strip_prefix(below).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_host_a_port_and_a_path() {
        let key = RuleSource::parse("[::1]:5000/team/app").unwrap();
        assert_eq!((key.host(), key.domain(), key.path()), ("[::1]", "[::1]:5000", "team/app"));
        assert!(key.has_port());
        assert!(!RuleSource::parse("[::1]").unwrap().has_port());
        assert_eq!(
            RuleSource::parse("index.docker.io/library").unwrap().as_str(),
            "docker.io/library"
        );
        assert_eq!(
            RuleSource::parse("Index.Docker.IO/library").unwrap().as_str(),
            "docker.io/library"
        );
        assert_eq!(RuleSource::parse("GCR.io:443/a").unwrap().as_str(), "gcr.io:443/a");
    }

    #[test]
    fn what_no_reference_can_match_is_no_key() {
        for dead in [
            "*",
            "*.gcr.io",
            "registry",
            "",
            "quay.io/",
            "quay.io/Team",
            "quay.io/a:1",
            "https://quay.io",
        ] {
            assert_eq!(RuleSource::parse(dead), None, "{dead}");
        }
    }

    #[test]
    fn below_means_below_on_a_component_boundary() {
        assert!(is_below("h.io/a/b", "h.io/a") && is_below("h.io/a", "h.io/a"));
        assert!(!is_below("h.io/ab", "h.io/a") && !is_below("h.io", "h.io/a"));
        assert!(!is_below("h.io:5000/a", "h.io"));
    }
}
