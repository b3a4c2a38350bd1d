//! The source of a rule: a host with an optional port and an optional path.

use std::borrow::Cow;

use crate::reference::{DOCKER_DOMAIN, LEGACY_DOCKER_DOMAIN, is_domain, is_path};

/// A source that at least one reference matches.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleSource {
    text: String,
    /// The byte at which the host, with its port, ends.
    domain_end: usize,
}

impl RuleSource {
    /// Parses a source. Returns `None` if no reference can ever match it.
    ///
    /// The host is normalised as in references and set in lower case, so that a rule for
    /// `index.docker.io` matches `docker.io`. See `compared`.
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

    /// Returns the whole key, normalised.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the host without its port.
    pub fn host(&self) -> &str {
        &self.text[..host_length(self.domain())]
    }

    /// Returns the host with its port.
    pub fn domain(&self) -> &str {
        &self.text[..self.domain_end]
    }

    /// Returns true if the key has a port.
    pub fn has_port(&self) -> bool {
        self.host() != self.domain()
    }

    /// Returns the path below the domain; empty for a whole registry.
    pub fn path(&self) -> &str {
        self.text.get(self.domain_end + 1..).unwrap_or("")
    }
}

/// Returns true if normalisation takes `domain`, before a `/`, for a registry.
pub(crate) fn is_registry(domain: &str) -> bool {
    let taken = domain == "localhost"
        || domain.bytes().any(|b| matches!(b, b'.' | b':') || b.is_ascii_uppercase());
    taken && is_domain(domain)
}

/// Returns `domain` in the form in which rules compare it: in lower case, as in DNS, and Docker
/// Hub under its one name.
///
/// Container runtimes compare hosts by case, unlike DNS. `GCR.io/a` has no mirror on a node and
/// is pulled from `gcr.io`, so rules must match it for its pod to use the mirror.
pub(crate) fn compared(domain: &str) -> Cow<'_, str> {
    let domain = if domain.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(domain.to_ascii_lowercase())
    } else {
        Cow::Borrowed(domain)
    };
    if domain == LEGACY_DOCKER_DOMAIN { Cow::Borrowed(DOCKER_DOMAIN) } else { domain }
}

/// Returns the length of the host before a port: a colon and digits at the end. The colons of
/// `[::1]` are inside brackets.
pub(crate) fn host_length(domain: &str) -> usize {
    let host = domain.trim_end_matches(|c: char| c.is_ascii_digit()).strip_suffix(':');
    host.map_or(domain.len(), str::len)
}

/// Returns true if `name` equals `below`, or is below it on a component boundary.
pub(crate) fn is_below(name: &str, below: &str) -> bool {
    name.strip_prefix(below).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_has_host_port_and_path() {
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
    fn unmatchable_source_is_rejected() {
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
    fn below_requires_a_component_boundary() {
        assert!(is_below("h.io/a/b", "h.io/a") && is_below("h.io/a", "h.io/a"));
        assert!(!is_below("h.io/ab", "h.io/a") && !is_below("h.io", "h.io/a"));
        assert!(!is_below("h.io:5000/a", "h.io"));
    }
}
