//! The check of the declared registry: name, certificate, API and credential.

use std::{collections::BTreeMap, io};

use hyper::{Method, StatusCode};
use image_swap_core::{declaration::Registry, status::RegistryOutcome};
use rustls::CertificateError;
use tokio::time::timeout;

use crate::{
    challenge::token_service,
    client::{ROOT, RegistryClient, TIME_LIMIT, basic_authorization},
    connection::connect,
    error::Error,
    trust::{RegistryTrust, TlsTrust},
};

/// The result of a check. It contains no credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryHealth {
    /// Outcome of the check.
    pub outcome: RegistryOutcome,
    /// Details for the administrator, in words.
    pub detail: String,
    /// Certificate of the registry in DER; `None` if none was verified.
    pub certificate: Option<Vec<u8>>,
}

/// Checks `registry` within 15 s.
///
/// The credential is sent only to the registry's host, and only over a connection whose
/// certificate was verified.
///
/// ```no_run
/// # async fn example(registry: &image_swap_core::declaration::Registry) {
/// let health = image_swap_registry::check(registry).await;
/// println!("{:?}: {}", health.outcome, health.detail);
/// # }
/// ```
pub async fn check(registry: &Registry) -> RegistryHealth {
    let mut certificate = None;
    let found = timeout(TIME_LIMIT, attempt(registry, &mut certificate)).await;
    let (outcome, detail) = match found {
        Ok(found) => found.unwrap_or_else(|error| failure(&error)),
        Err(_) => {
            (RegistryOutcome::Unreachable, format!("no response within {} s", TIME_LIMIT.as_secs()))
        }
    };
    RegistryHealth { outcome, detail, certificate }
}

/// Runs the check. The registry's certificate is stored in `certificate`, even if a later step
/// fails.
async fn attempt(
    registry: &Registry,
    certificate: &mut Option<Vec<u8>>,
) -> Result<(RegistryOutcome, String), Error> {
    use RegistryOutcome::{Ok as Healthy, Unauthorized, Unexpected, Unverified};

    let (is_plain, is_anonymous) = (registry.plain_http, registry.username.is_empty());
    let declared = registry.ca.pem();
    let trust = match declared.trim() {
        _ if is_plain => RegistryTrust::Plain,
        "" => RegistryTrust::Tls(TlsTrust::system_and([])),
        _ => RegistryTrust::Tls(TlsTrust::only([declared.as_bytes()])),
    };
    let unverified = match &trust {
        RegistryTrust::Tls(_) if registry.insecure => {
            Some("reachable; INSECURE skips the certificate check, so nothing else is checked")
        }
        RegistryTrust::Tls(tls) if tls.is_empty() => Some(
            "reachable; this pod has no CA certificates and CA_CERT is empty, so nothing else is checked",
        ),
        RegistryTrust::Tls(_) | RegistryTrust::Plain => None,
    };
    let client = RegistryClient {
        domain: registry.domain.clone(),
        trust,
        headers: BTreeMap::new(),
        // Over plain HTTP the credential would not be encrypted.
        authorization: basic_authorization(registry).filter(|_| !is_plain),
    };
    if let Some(detail) = unverified {
        connect(&client.domain, &client.trust).await?;
        return Ok((Unverified, detail.to_owned()));
    }
    let credential = client.authorization.as_deref();
    let response = {
        // The connection is closed before the next one is opened: a server may handle only one.
        let mut connection = client.open().await?;
        *certificate = connection.certificate.take();
        connection.send(client.request(Method::GET, ROOT, credential)?).await?
    };
    let (outcome, detail) = match (response.status(), token_service(response.headers())) {
        (StatusCode::OK, _) if is_plain => (Healthy, "reachable over plain HTTP"),
        (StatusCode::OK, _) => (Healthy, "reachable"),
        (StatusCode::UNAUTHORIZED, _) if is_plain && !is_anonymous => {
            (Healthy, "reachable over plain HTTP; the credential was not tried")
        }
        (StatusCode::UNAUTHORIZED, Some(_)) if is_plain => {
            (Healthy, "reachable over plain HTTP; it issues tokens")
        }
        (StatusCode::UNAUTHORIZED, Some(_)) if is_anonymous => {
            (Healthy, "reachable; it issues tokens")
        }
        (StatusCode::UNAUTHORIZED, Some(service)) => match client.token_path(&service, "") {
            // The root of Harbor's API accepts only tokens.
            Some(path) => {
                let request = client.request(Method::GET, &path, credential)?;
                match client.open().await?.send(request).await?.status() {
                    StatusCode::OK => (Healthy, "reachable; it issues a token for the credential"),
                    StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                        (Unauthorized, "its token service rejects USERNAME and PASSWORD")
                    }
                    other => {
                        return Ok((
                            Unexpected,
                            format!("its token service responds with {other}"),
                        ));
                    }
                }
            }
            None => (
                Healthy,
                "reachable; its token service is on another host, so the credential was not tried",
            ),
        },
        (StatusCode::UNAUTHORIZED, None) if is_anonymous => {
            (Unauthorized, "it rejects anonymous pulls (401), and USERNAME is empty")
        }
        (StatusCode::UNAUTHORIZED, None) => (Unauthorized, "it rejects USERNAME and PASSWORD"),
        (other, _) => {
            return Ok((
                Unexpected,
                format!("it responds to /v2/ with {other}, as no registry does"),
            ));
        }
    };
    Ok((outcome, detail.to_owned()))
}

/// Returns outcome and details of a check that failed with `error`.
fn failure(error: &Error) -> (RegistryOutcome, String) {
    match error {
        Error::Unresolved { source, .. } => (RegistryOutcome::Unresolved, source.to_string()),
        Error::Unreachable { source, .. } => (unreachable(source), source.to_string()),
        Error::Broken { source, .. } => (RegistryOutcome::Unreachable, source.to_string()),
        Error::Unexpected { .. } | Error::Cannot { .. } => {
            (RegistryOutcome::Unexpected, error.to_string())
        }
    }
}

/// Returns the outcome for a connection that failed with `error`.
fn unreachable(error: &io::Error) -> RegistryOutcome {
    let inner = error.get_ref().and_then(|it| it.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => RegistryOutcome::Expired,
        Some(rustls::Error::InvalidCertificate(_)) => RegistryOutcome::Untrusted,
        _ => RegistryOutcome::Unreachable,
    }
}
