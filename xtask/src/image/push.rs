//! Pushing to a registry (OCI distribution specification, `spec.md`, and the
//! distribution project's `token.md`).

use std::{env, io::Write as _, path::PathBuf, str::FromStr};

use anyhow::{Context, Result, bail};
use image_swap_testbed::oci::{Blob, Layout};
use image_swap_testbed::{Answer, HttpClient};

use crate::host::print_line;

/// The variables with user name and password.
const USERNAME: &str = "IMAGE_SWAP_PUSH_USERNAME";
const PASSWORD: &str = "IMAGE_SWAP_PUSH_PASSWORD";

/// The registry, repository and tag that an image is pushed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    host: String,
    repository: String,
    tag: String,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (host, rest) = text.split_once('/')?;
            let (repository, tag) = rest.rsplit_once(':')?;
            let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:[]".contains(c);
            let whole = [host, repository, tag].iter().all(|part| !part.is_empty());
            (whole && !tag.contains('/') && !text.contains("//") && text.chars().all(plain)).then(
                || Self {
                    host: host.to_owned(),
                    repository: repository.to_owned(),
                    tag: tag.to_owned(),
                },
            )
        };
        parse().ok_or_else(|| {
            format!("expected HOST/NAME:TAG, without scheme and user name, found {text:?}")
        })
    }
}

/// Settings of the connection to the registry.
#[derive(Clone, Debug, Default)]
pub(super) struct How {
    pub(super) plain_http: bool,
    pub(super) authority: Option<PathBuf>,
}

/// Pushes all images, and the index last: until then a pull by tag gets the old index.
pub(super) fn push(layout: &Layout, target: &Target, how: &How) -> Result<()> {
    let scheme = if how.plain_http { "http" } else { "https" };
    let mut remote = Remote {
        base: format!("{scheme}://{}", target.host),
        repository: &target.repository,
        client: HttpClient { authority: how.authority.clone(), ..HttpClient::default() },
    };
    remote.log_in(how.plain_http, credentials()?)?;
    for image in layout.images() {
        remote.blob(image.layer())?;
        remote.blob(image.config())?;
        remote.manifest(image.manifest(), image.manifest().digest())?;
    }
    remote.manifest(layout.index(), &target.tag)?;
    let Target { host, repository, tag } = target;
    print_line(&format!("pushed  {host}/{repository}:{tag}@{}", layout.index().digest()));
    Ok(())
}

fn credentials() -> Result<Option<String>> {
    match (env::var(USERNAME), env::var(PASSWORD)) {
        (Ok(username), Ok(password)) => Ok(Some(format!("{username}:{password}"))),
        (Err(_), Err(_)) => Ok(None),
        _ => bail!("expected both {USERNAME} and {PASSWORD}, or neither; found one"),
    }
}

/// A repository of a registry.
struct Remote<'a> {
    base: String,
    repository: &'a str,
    client: HttpClient,
}

impl Remote<'_> {
    /// Reads the challenge of the registry and prepares the credentials that it accepts.
    fn log_in(&mut self, plain_http: bool, user: Option<String>) -> Result<()> {
        let answer = self.client.request("GET", &format!("{}/v2/", self.base), None);
        let answer = answer.with_context(|| {
            let hint =
                if plain_http { "" } else { "; pass --plain-http if the registry has no TLS" };
            format!("cannot query {}{hint}", self.base)
        })?;
        let challenge = answer.header("WWW-Authenticate").unwrap_or_default();
        let Some(bearer) = challenge.strip_prefix("Bearer ") else {
            if !matches!(answer.status, 200 | 401) {
                return Err(refused(&format!("GET {}/v2/", self.base), &answer));
            }
            self.client.user = user;
            return Ok(());
        };
        let realm = parameter(bearer, "realm").context("expected a realm in the challenge")?;
        if !plain_http && !realm.starts_with("https://") {
            bail!("expected a realm with https, found another one; the password is not sent");
        }
        let service = parameter(bearer, "service").unwrap_or_default();
        let scope = format!("repository:{}:pull,push", self.repository);
        let separator = if realm.contains('?') { '&' } else { '?' };
        let url =
            format!("{realm}{separator}service={}&scope={}", escaped(service), escaped(&scope));
        let asking = HttpClient { user, ..self.client.clone() };
        let answer = asking.request("GET", &url, None)?;
        let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let token = body["token"].as_str().or_else(|| body["access_token"].as_str());
        match token {
            Some(token) if answer.status == 200 => {
                self.client.headers.push(("Authorization", format!("Bearer {token}")));
            }
            // The body of the answer may hold secrets.
            _ => bail!("expected a token from {realm}, found the status {}", answer.status),
        }
        Ok(())
    }

    fn blob(&self, blob: &Blob) -> Result<()> {
        let blobs = format!("{}/v2/{}/blobs", self.base, self.repository);
        if self.client.request("HEAD", &format!("{blobs}/{}", blob.digest()), None)?.status == 200 {
            return Ok(());
        }
        let url = format!("{blobs}/uploads/");
        let answer = self.client.request("POST", &url, None)?;
        let location = answer.header("Location").filter(|_| answer.status == 202);
        let location = location.ok_or_else(|| refused(&format!("POST {url}"), &answer))?;
        let url = if location.starts_with('/') {
            format!("{}{location}", self.base)
        } else {
            location.to_owned()
        };
        // Credentials are for the registry alone.
        if !url.starts_with(&format!("{}/", self.base)) {
            bail!("expected an upload below {}, found another place", self.base);
        }
        let separator = if url.contains('?') { '&' } else { '?' };
        let url = format!("{url}{separator}digest={}", escaped(blob.digest()));
        self.put(&url, "application/octet-stream", blob.bytes())
    }

    fn manifest(&self, manifest: &Blob, reference: &str) -> Result<()> {
        let url = format!("{}/v2/{}/manifests/{reference}", self.base, self.repository);
        self.put(&url, manifest.kind(), manifest.bytes())
    }

    fn put(&self, url: &str, kind: &str, body: &[u8]) -> Result<()> {
        let mut file = tempfile::NamedTempFile::new().context("make a file for a request")?;
        file.write_all(body).context("write a request")?;
        let answer = self.client.request("PUT", url, Some((kind, file.path())))?;
        // The query may hold secrets of the registry.
        let shown = url.split('?').next().unwrap_or_default();
        if answer.status == 201 { Ok(()) } else { Err(refused(&format!("PUT {shown}"), &answer)) }
    }
}

fn refused(request: &str, answer: &Answer) -> anyhow::Error {
    let body: String = answer.body.trim().chars().take(500).collect();
    let how = match answer.status {
        401 | 403 => format!("; set {USERNAME} and {PASSWORD} to a user who may push"),
        _ => String::new(),
    };
    anyhow::anyhow!("{request} was answered {} {body}{how}", answer.status)
}

/// Returns the value of `name="value"` in a challenge (RFC 9110, section 11.6.1).
fn parameter<'a>(challenge: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = challenge;
    while let Some((key, after)) = rest.split_once("=\"") {
        let (value, after) = after.split_once('"')?;
        if key.trim_matches([' ', ',']) == name {
            return Some(value);
        }
        rest = after;
    }
    None
}

/// Percent-encodes `text` for a query.
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_has_host_name_and_tag() {
        let target: Target = "harbor.example.org:8443/a/b:1.0".parse().unwrap();
        assert_eq!(target.host, "harbor.example.org:8443");
        assert_eq!((target.repository.as_str(), target.tag.as_str()), ("a/b", "1.0"));
        for wrong in ["image:1", "h.io/a", "https://h.io/a:1", "me:pw@h.io/a:1", "h.io:5000/a"] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn challenge_is_parsed_by_parameter() {
        let challenge = r#"realm="https://h/token",service="h, the registry",scope="a:b""#;
        assert_eq!(parameter(challenge, "realm"), Some("https://h/token"));
        assert_eq!(parameter(challenge, "service"), Some("h, the registry"));
        assert_eq!(parameter(challenge, "error"), None);
        assert_eq!(escaped("repository:a/b:pull,push"), "repository%3Aa%2Fb%3Apull%2Cpush");
    }
}
