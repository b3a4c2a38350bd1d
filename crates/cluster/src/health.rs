//! Whether the declared registry can be reached: its name, its certificate, its
//! API, the credential. Never on the path of a pod.

use std::{io, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::Empty;
use hyper::{
    Request, StatusCode,
    client::conn::http1,
    header::{AUTHORIZATION, HOST, HeaderValue, WWW_AUTHENTICATE},
};
use hyper_util::rt::TokioIo;
use image_swap_core::declaration::{Registry, UnixTime};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde::{Deserialize, Serialize};
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Time for all of it.
const PATIENCE: Duration = Duration::from_secs(15);
const HTTPS: u16 = 443;

/// What became of a check. Holds no credential.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Health {
    /// The registry.
    pub domain: String,
    /// `ok`, `unverified`, `unresolved`, `unreachable`, `untrusted`,
    /// `unauthorized` or `unexpected`.
    pub outcome: String,
    /// What was found.
    pub detail: String,
    /// When, seconds since 1970.
    pub checked: UnixTime,
}

impl Health {
    /// Whether pods that pull from there will wait in vain.
    pub fn is_bad(&self) -> bool {
        !matches!(self.outcome.as_str(), "ok" | "unverified")
    }
}

type Found = (&'static str, String);

/// Checks `registry`. The credential is sent to its own host alone, and only
/// over a connection whose certificate was verified.
pub(crate) async fn check(registry: Registry, now: UnixTime) -> Health {
    let found = timeout(PATIENCE, attempt(&registry)).await;
    let (outcome, detail) = match found {
        Ok(Ok(found) | Err(found)) => found,
        Err(_) => ("unreachable", format!("no answer within {} s", PATIENCE.as_secs())),
    };
    Health { domain: registry.domain, outcome: outcome.to_owned(), detail, checked: now }
}

async fn attempt(registry: &Registry) -> Result<Found, Found> {
    let (host, port) = split(&registry.domain);
    let addresses: Vec<_> = lookup_host((host, port))
        .await
        .map_err(|error| ("unresolved", error.to_string()))?
        .collect();
    let stream = TcpStream::connect(&*addresses)
        .await
        .map_err(|error| ("unreachable", error.to_string()))?;
    if registry.insecure {
        return Ok((
            "unverified",
            "its certificate is taken unseen (INSECURE): no more is tried".into(),
        ));
    }
    let Some(config) = trust(registry.ca.pem()) else {
        return Ok(("unverified", "this pod knows no authorities, and CA_CERT is empty".into()));
    };
    let name =
        ServerName::try_from(host.to_owned()).map_err(|error| ("unresolved", error.to_string()))?;
    let tls = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .map_err(|error| (of_handshake(&error), error.to_string()))?;
    ask(registry, tls).await
}

/// `/v2/` without, and if that is wanted with the credential.
async fn ask(registry: &Registry, tls: TlsStream<TcpStream>) -> Result<Found, Found> {
    let broken = |error: hyper::Error| ("unreachable", error.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(tls)).await.map_err(broken)?;
    let driven = tokio::spawn(connection);
    let user = registry.username.expose();
    let credential = (!user.is_empty()).then(|| {
        let both = format!("{user}:{}", registry.password.expose());
        let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(both)));
        if let Ok(value) = &mut value {
            value.set_sensitive(true);
        }
        value
    });
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = hyper::Uri::from_static("/v2/");
    if let Ok(host) = HeaderValue::from_str(&registry.domain) {
        request.headers_mut().insert(HOST, host);
    }
    let is_anonymous = credential.is_none();
    if let Some(Ok(credential)) = credential {
        request.headers_mut().insert(AUTHORIZATION, credential);
    }
    let reply = sender.send_request(request).await.map_err(broken);
    driven.abort();
    let reply = reply?;
    let challenge = reply.headers().get(WWW_AUTHENTICATE).and_then(|it| it.to_str().ok());
    let is_bearer = challenge
        .is_some_and(|it| it.get(..7).is_some_and(|it| it.eq_ignore_ascii_case("bearer ")));
    Ok(match reply.status() {
        StatusCode::OK => ("ok", "it answers".to_owned()),
        // A token is fetched from elsewhere, which the credential is not for.
        StatusCode::UNAUTHORIZED if is_bearer => {
            ("ok", "it answers, and gives tokens: the credential was not tried".to_owned())
        }
        StatusCode::UNAUTHORIZED if is_anonymous => (
            "unauthorized",
            "expected an anonymous pull to do, found 401: USERNAME is empty".to_owned(),
        ),
        StatusCode::UNAUTHORIZED => {
            ("unauthorized", "USERNAME and PASSWORD are refused".to_owned())
        }
        other => ("unexpected", format!("expected /v2/ to be a registry's, found {other}")),
    })
}

/// Host and port, without the brackets of IPv6.
fn split(domain: &str) -> (&str, u16) {
    let (host, port) = match domain.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().unwrap_or(HTTPS)),
        _ => (domain, HTTPS),
    };
    (host.trim_start_matches('[').trim_end_matches(']'), port)
}

/// Trust in the declared authorities, else in the system's; `None`: there are none.
fn trust(pem: &str) -> Option<ClientConfig> {
    let mut roots = RootCertStore::empty();
    if pem.trim().is_empty() {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    } else {
        let declared = CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok);
        roots.add_parsable_certificates(declared);
    }
    if roots.is_empty() {
        return None;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Some(builder.ok()?.with_root_certificates(roots).with_no_client_auth())
}

fn of_handshake(error: &io::Error) -> &'static str {
    let inner = error.get_ref().and_then(|it| it.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(_)) => "untrusted",
        _ => "unreachable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_a_host_and_a_port() {
        for (domain, host, port) in [
            ("h.example.org", "h.example.org", 443),
            ("h.example.org:8443", "h.example.org", 8443),
            ("[::1]:5000", "::1", 5000),
            ("[::1]", "::1", 443),
        ] {
            assert_eq!(split(domain), (host, port));
        }
    }
}
