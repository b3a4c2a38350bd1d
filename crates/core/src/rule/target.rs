//! The target of a rule: the new beginning of an image's name.

use super::source::{compared, host_length, is_registry};
use crate::reference::{DOCKER_DOMAIN, is_path};

/// A target that valid references can begin with.
///
/// The same text serves two readers. Pods need `host/path`; nodes need `scheme://host/v2/path`.
/// Administrators write either form, so parsing removes the scheme and the API's `/v2/`, and
/// records the scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    text: String,
    domain_end: usize,
    plain_http: bool,
    /// True if every path appended to this target is a valid reference, length aside. False
    /// means unknown.
    pub(super) takes_any_path: bool,
}

/// Reason why a target is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The first component is not a registry.
    #[error(
        "expected a target that begins with a registry (host.example.org, localhost or host:port)"
    )]
    NoRegistry,
    /// The target has a tag or a digest, which the swapped reference itself has.
    #[error("expected a target without a tag or digest")]
    TagOrDigest,
}

impl Target {
    /// Parses the target of a prefix, `default` or `[REPLACE]` rule.
    ///
    /// # Errors
    /// Returns a [`TargetError`] if the target has no registry, or has a tag or a digest.
    pub fn parse(written: &str) -> Result<Self, TargetError> {
        let target = Self::read(written, true)?;
        if target.path().contains([':', '@']) {
            return Err(TargetError::TagOrDigest);
        }
        Ok(target)
    }

    /// Parses the target of an `[EXACT]` rule: a whole reference, tag and digest included.
    ///
    /// # Errors
    /// Returns [`TargetError::NoRegistry`] if the reference has no registry.
    pub fn of_exact(written: &str) -> Result<Self, TargetError> {
        Self::read(written, false)
    }

    fn read(written: &str, normalise: bool) -> Result<Self, TargetError> {
        let (scheme, rest) = written.split_once("://").unwrap_or(("https", written));
        let plain_http = scheme.eq_ignore_ascii_case("http");
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (domain, path) = rest.split_once('/').unwrap_or((rest, ""));
        if !(plain_http || scheme.eq_ignore_ascii_case("https")) || !is_registry(domain) {
            return Err(TargetError::NoRegistry);
        }
        let path = if path == "v2" { "" } else { path.strip_prefix("v2/").unwrap_or(path) };
        // Docker Hub has one name. Any other host keeps its spelling, which pods use.
        let is_hub = normalise && compared(domain) == DOCKER_DOMAIN;
        let domain = if is_hub { DOCKER_DOMAIN } else { domain };
        let slash = if path.is_empty() { "" } else { "/" };
        let text = [domain, slash, path].concat();
        // Normalisation lengthens a path of one component on Docker Hub.
        let takes_any_path = domain != DOCKER_DOMAIN && (path.is_empty() || is_path(path));
        Ok(Self { text, domain_end: domain.len(), plain_http, takes_any_path })
    }

    /// Returns the beginning of swapped references, `host/path` with the host normalised. For
    /// an `[EXACT]` rule, returns the swapped reference in its original spelling.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the host, with its port if it has one.
    pub fn domain(&self) -> &str {
        &self.text[..self.domain_end]
    }

    /// Returns the host without its port.
    pub fn host(&self) -> &str {
        &self.text[..host_length(self.domain())]
    }

    /// Returns the path below the host; empty for the registry's root.
    pub fn path(&self) -> &str {
        self.text.get(self.domain_end + 1..).unwrap_or("")
    }

    /// Returns true if the target was declared with `http://`, so that nodes use plain HTTP.
    pub const fn is_plain_http(&self) -> bool {
        self.plain_http
    }

    /// Returns true if the target ends in `-`: names are then appended to it instead of put
    /// below it.
    pub fn joins_name(&self) -> bool {
        self.text.ends_with('-')
    }

    /// Returns true if no reference below the target can be valid, because its path is invalid.
    pub fn can_never_be_valid(&self) -> bool {
        let path = self.path();
        // Text appended to a hyphen continues its component.
        let path = if self.joins_name() { format!("{path}x") } else { path.to_owned() };
        !path.is_empty() && !is_path(&path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_has_the_form_for_pods() {
        for (written, text, plain_http) in [
            ("h.io/d", "h.io/d", false),
            ("h.io/d/", "h.io/d", false),
            ("https://h.io/v2/d", "h.io/d", false),
            ("http://h.io:5000/v2/d/", "h.io:5000/d", true),
            ("h.io/v2/d", "h.io/d", false),
            ("https://h.io/v2", "h.io", false),
            ("localhost/d", "localhost/d", false),
            ("index.docker.io/d", "docker.io/d", false),
            ("Docker.IO/d", "docker.io/d", false),
            ("Harbor.Example.org/d", "Harbor.Example.org/d", false),
            ("h.io/x-", "h.io/x-", false),
        ] {
            let target = Target::parse(written).unwrap();
            assert_eq!((target.as_str(), target.is_plain_http()), (text, plain_http), "{written}");
        }
    }

    #[test]
    fn host_excludes_port() {
        let host = |written: &str| Target::parse(written).unwrap().host().to_owned();
        assert_eq!(
            [host("h.io:5000/d"), host("h.io/d"), host("[::1]:5000")],
            ["h.io", "h.io", "[::1]"]
        );
    }

    #[test]
    fn target_with_invalid_path_can_never_be_valid() {
        let is_invalid = |written: &str| Target::parse(written).unwrap().can_never_be_valid();
        for written in ["h.io", "h.io/d", "h.io/d/e", "h.io/x-", "h.io/d/x-"] {
            assert!(!is_invalid(written), "{written}");
        }
        for written in ["h.io/D", "h.io/d//e", "h.io/D-", "h.io/d_-"] {
            assert!(is_invalid(written), "{written}");
        }
    }

    #[test]
    fn target_begins_with_a_registry() {
        for written in [
            "",
            "/",
            "jmsearcy-",
            "harbor/d",
            "h_x.io/d",
            "ftp://h.io/d",
            "h.io-",
            "user:pw@h.io/d",
            "h.io:tag",
            "//h.io",
        ] {
            assert_eq!(Target::parse(written), Err(TargetError::NoRegistry), "{written}");
        }
        for written in ["h.io/d:1", "h.io/d@sha256:00", "h.io:5000/d:1"] {
            assert_eq!(Target::parse(written), Err(TargetError::TagOrDigest), "{written}");
        }
        assert_eq!(Target::of_exact("h.io/d:1").unwrap().as_str(), "h.io/d:1");
        let error = |written: &str| Target::parse(written).unwrap_err().to_string();
        assert!(error("harbor/d").contains("begins with a registry"));
        assert!(error("h.io/d:1").contains("without a tag or digest"));
    }
}
