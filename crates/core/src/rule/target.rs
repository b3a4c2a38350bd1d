//! The target of a rule: where images come from instead.

use super::source::{compared, host_length, is_registry};
use crate::reference::{DOCKER_DOMAIN, is_path};

/// A target that swapped references can begin with.
///
/// One text serves two readers. Pods need `host/path`; nodes need
/// `scheme://host/v2/path`. Users write either, so a scheme and the API's
/// `/v2/` are taken off here, and the scheme is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    text: String,
    domain_end: usize,
    plain_http: bool,
    /// True if any path below it is a reference, which is read as it is written, unless it is
    /// too long. False: unknown.
    pub(super) takes_any_path: bool,
}

/// Why a text is no target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Its first component is no registry.
    #[error(
        "expected a target that begins with a registry (host.example.org, localhost or host:port)"
    )]
    NoRegistry,
    /// It names a tag or a digest, which the swapped reference brings itself.
    #[error("expected a target without a tag or digest")]
    TagOrDigest,
}

impl Target {
    /// Reads the target of a prefix, `default` or `[REPLACE]` rule.
    ///
    /// # Errors
    /// See [`TargetError`].
    pub fn parse(written: &str) -> Result<Self, TargetError> {
        let target = Self::read(written, true)?;
        if target.path().contains([':', '@']) {
            return Err(TargetError::TagOrDigest);
        }
        Ok(target)
    }

    /// Reads the target of an `[EXACT]` rule: a whole reference, tag and digest included.
    ///
    /// # Errors
    /// [`TargetError::NoRegistry`].
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
        // Docker Hub has one name. Any other host stays as it was written, for pods to use.
        let is_hub = normalise && compared(domain) == DOCKER_DOMAIN;
        let domain = if is_hub { DOCKER_DOMAIN } else { domain };
        let slash = if path.is_empty() { "" } else { "/" };
        let text = [domain, slash, path].concat();
        // A path of one component on Docker Hub is read as one that is longer.
        let takes_any_path = domain != DOCKER_DOMAIN && (path.is_empty() || is_path(path));
        Ok(Self { text, domain_end: domain.len(), plain_http, takes_any_path })
    }

    /// `host/path` as swapped references begin, the host normalised; of an
    /// `[EXACT]` rule, the swapped reference as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host, with its port if it has one.
    pub fn domain(&self) -> &str {
        &self.text[..self.domain_end]
    }

    /// The host without its port.
    pub fn host(&self) -> &str {
        &self.text[..host_length(self.domain())]
    }

    /// The path below the host; empty for the registry's root.
    pub fn path(&self) -> &str {
        self.text.get(self.domain_end + 1..).unwrap_or("")
    }

    /// Whether it said `http://`: nodes then speak plain HTTP to this host.
    pub const fn is_plain_http(&self) -> bool {
        self.plain_http
    }

    /// Whether it ends in `-`, and names are joined to it instead of put below it.
    pub fn joins_name(&self) -> bool {
        self.text.ends_with('-')
    }

    /// Whether no reference below it can be valid: its path is none.
    pub fn can_never_be_valid(&self) -> bool {
        let path = self.path();
        // What is joined to a hyphen continues its component.
        let path = if self.joins_name() { format!("{path}x") } else { path.to_owned() };
        !path.is_empty() && !is_path(&path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_what_pods_need_however_it_was_written() {
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
    fn a_host_is_without_its_port() {
        let host = |written: &str| Target::parse(written).unwrap().host().to_owned();
        assert_eq!(
            [host("h.io:5000/d"), host("h.io/d"), host("[::1]:5000")],
            ["h.io", "h.io", "[::1]"]
        );
    }

    #[test]
    fn a_target_whose_path_is_none_is_hopeless() {
        let is_hopeless = |written: &str| Target::parse(written).unwrap().can_never_be_valid();
        for written in ["h.io", "h.io/d", "h.io/d/e", "h.io/x-", "h.io/d/x-"] {
            assert!(!is_hopeless(written), "{written}");
        }
        for written in ["h.io/D", "h.io/d//e", "h.io/D-", "h.io/d_-"] {
            assert!(is_hopeless(written), "{written}");
        }
    }

    #[test]
    fn a_target_begins_with_a_registry() {
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
        let told = |written: &str| Target::parse(written).unwrap_err().to_string();
        assert!(told("harbor/d").contains("begins with a registry"));
        assert!(told("h.io/d:1").contains("without a tag or digest"));
    }
}
