//! Further hosts, besides DOMAIN, that a credential is declared for.

use crate::{reference::is_domain, rule::Target};

/// A host, or all hosts one label below a domain: `registry.example.org:5001`,
/// `*.registry.example.org`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern {
    /// True if the pattern matches one more label before `host`.
    is_wildcard: bool,
    /// The host, with its port if it has one.
    host: String,
}

impl HostPattern {
    /// Parses one item of CREDENTIAL_HOSTS. Returns `None` if it is not a host.
    #[expect(clippy::doc_markdown, reason = "the name of the key")]
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.split_once("://").map_or(text, |(_, rest)| rest).trim_end_matches('/');
        if let Some(below) = text.strip_prefix("*.") {
            // `*.com` would send the credential to unrelated registries.
            let host = below.split(':').next().unwrap_or_default();
            let is_specific = host.split('.').filter(|label| !label.is_empty()).count() > 1;
            let is_host = is_domain(below) && !below.starts_with('[') && is_specific;
            return is_host.then(|| Self { is_wildcard: true, host: below.to_ascii_lowercase() });
        }
        if !is_domain(text) {
            return None;
        }
        let host = Target::parse(text).map_or_else(|_| text.to_owned(), |t| t.domain().to_owned());
        Some(Self { is_wildcard: false, host: host.to_ascii_lowercase() })
    }

    /// Returns true if `host`, with its port if it has one, is one of these hosts.
    pub fn matches(&self, host: &str) -> bool {
        let host = if self.is_wildcard {
            host.split_once('.').filter(|(label, _)| !label.is_empty()).map(|(_, below)| below)
        } else {
            Some(host)
        };
        host.is_some_and(|host| host.eq_ignore_ascii_case(&self.host))
    }
}

#[cfg(test)]
mod tests {
    use super::HostPattern;

    #[test]
    fn pattern_matches_only_its_hosts() {
        for (pattern, matching, others) in [
            (
                "nexus.example.org:5001",
                &["nexus.example.org:5001", "Nexus.example.org:5001"][..],
                &["nexus.example.org", "nexus.example.org:5002", "a.nexus.example.org:5001"][..],
            ),
            (
                "*.jfrog.example.org",
                &["docker.jfrog.example.org", "quay-remote.jfrog.example.org"],
                &[
                    "jfrog.example.org",
                    "a.b.jfrog.example.org",
                    "docker.jfrog.example.org:443",
                    "docker.jfrog.example.org.evil",
                    ".jfrog.example.org",
                ],
            ),
            ("*.example.org:8443", &["a.example.org:8443"], &["a.example.org"]),
            ("https://h.io/", &["h.io"], &["h.io:443"]),
        ] {
            let pattern = HostPattern::parse(pattern).unwrap();
            assert!(matching.iter().all(|host| pattern.matches(host)), "{pattern:?}");
            assert!(others.iter().all(|host| !pattern.matches(host)), "{pattern:?}");
        }
    }

    #[test]
    fn texts_without_host_are_refused() {
        for text in ["", "*", "*.com", "*.", "*.com:443", "h_.io", "a.*.io", "u:pw@h.io", "h.io/p"]
        {
            assert_eq!(HostPattern::parse(text), None, "{text}");
        }
    }
}
