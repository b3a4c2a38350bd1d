//! The declared registry.

use image_swap_text::base64;

use super::{certificate::Certificates, credential::Credential, host::HostPattern};

/// The declared registry, with its credential and its trust.
///
/// USERNAME, PASSWORD, CA_CERT and INSECURE apply to this host and port and to [`Self::hosts`].
/// They never apply to a target elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::doc_markdown, reason = "names of Palette's format, which people search for")]
pub struct Registry {
    /// Host, with a port if one was declared; no scheme, no slash.
    pub domain: String,
    /// Display name; `None` unless the chart's values declare it.
    pub name: Option<String>,
    /// Further hosts of the same server, CREDENTIAL_HOSTS; empty if none was declared.
    pub hosts: Vec<HostPattern>,
    /// Path of the mirrored images in the registry. Never prepended to a target.
    pub base_path: String,
    /// User name for authentication; empty for anonymous pulls.
    pub username: Credential,
    /// The password that goes with [`Self::username`].
    pub password: Credential,
    /// True if certificates of this host are not verified.
    pub insecure: bool,
    /// True if DOMAIN or a target on it begins with `http://`.
    pub plain_http: bool,
    /// Certificate authorities for this host; empty for the authorities of the system.
    pub ca: Certificates,
}

impl Registry {
    /// Returns true if user name, password, authority and INSECURE are declared for
    /// `host`, a host with its port if it has one.
    pub fn covers(&self, host: &str) -> bool {
        self.domain.eq_ignore_ascii_case(host)
            || self.hosts.iter().any(|pattern| pattern.matches(host))
    }

    /// Returns the credential as it follows `Basic ` in an Authorization header, and as `auth`
    /// of a credential file; `None` for anonymous pulls. The text is encoded, not encrypted.
    ///
    /// Source: RFC 7617, section 2.
    pub fn basic(&self) -> Option<String> {
        let both = [self.username.expose(), ":", self.password.expose()].concat();
        (!self.username.is_empty()).then(|| base64::encode(both))
    }
}
