//! URLs of API servers.

use super::error::KubeconfigProblem;
use crate::reference::is_domain;

const SCHEME: &str = "https://";
/// Limit of a URL in bytes.
const LONGEST: usize = 2048;

/// Checks `server` and returns it without slashes at its end: `https://`, a host, and an optional
/// port and path.
///
/// # Errors
/// Returns the expected form.
pub fn url(server: &str) -> Result<String, KubeconfigProblem> {
    let invalid = KubeconfigProblem::Invalid;
    let Some(rest) = server.strip_prefix(SCHEME) else {
        return Err(invalid("a URL that begins with https://; the server has to use TLS"));
    };
    if server.len() > LONGEST {
        return Err(invalid("a URL of at most 2048 bytes; shorten it"));
    }
    if rest.contains('@') {
        return Err(invalid("a URL without a user; move the credential to the user"));
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if !is_host(authority) {
        return Err(invalid("a host name or IP address after https://; correct it"));
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~:".contains(&byte);
    let climbs = path.split('/').any(|segment| segment == "." || segment == "..");
    if !path.bytes().all(is_plain) || climbs {
        return Err(invalid("a path of letters, digits and -._~: without `..`; correct it"));
    }
    Ok(server.trim_end_matches('/').to_owned())
}

/// Returns true if `text` is a host with an optional port.
fn is_host(text: &str) -> bool {
    let port = match text.rsplit_once(':') {
        Some((host, port)) if !host.starts_with('[') || host.ends_with(']') => Some(port),
        _ => None,
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|number| number != 0);
    is_domain(text) && port.is_none_or(is_port)
}

/// Checks a name that the certificate of a server has to contain.
pub(super) fn tls_name(name: &str) -> Result<String, KubeconfigProblem> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:".contains(&byte);
    if name.len() > 253 || !name.bytes().all(is_plain) {
        return Err(KubeconfigProblem::Invalid("a host name or IP address; correct it"));
    }
    Ok(name.to_owned())
}
