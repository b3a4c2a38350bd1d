//! The registry's API (OCI distribution specification), and who gives tokens for it.

use bytes::Bytes;
use http_body_util::Empty;
use hyper::{
    Request, Response, StatusCode, Uri,
    body::Incoming,
    client::conn::http1,
    header::{AUTHORIZATION, HOST, HeaderValue, WWW_AUTHENTICATE},
};
use hyper_util::rt::TokioIo;
use image_swap_core::{
    declaration::{Credential, Registry},
    registry::Challenge,
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Found, OK, UNAUTHORIZED, UNEXPECTED, UNREACHABLE};

/// A connection to the registry.
pub(super) trait Connection: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Connection for T {}

/// Asks `/v2/` over plain HTTP, without the credential: it would travel unencrypted.
pub(super) async fn plain_version(
    registry: &Registry,
    stream: impl Connection,
) -> Result<Found, Found> {
    let anonymous = Registry { username: Credential::default(), ..registry.clone() };
    let reply = get(&anonymous, Uri::from_static("/v2/"), stream).await?;
    let challenge = reply.headers().get(WWW_AUTHENTICATE).and_then(|it| it.to_str().ok());
    let gives_tokens =
        matches!(challenge.and_then(Challenge::read), Some(Challenge::Bearer { .. }));
    Ok(match reply.status() {
        StatusCode::OK => (OK, "it answers over plain HTTP".to_owned()),
        StatusCode::UNAUTHORIZED if !registry.username.is_empty() => {
            (OK, "it answers over plain HTTP: the credential was not tried".to_owned())
        }
        StatusCode::UNAUTHORIZED if gives_tokens => {
            (OK, "it answers over plain HTTP, and gives tokens".to_owned())
        }
        StatusCode::UNAUTHORIZED => (
            UNAUTHORIZED,
            "expected an anonymous pull to do, found 401: USERNAME is empty".to_owned(),
        ),
        other => (UNEXPECTED, format!("expected /v2/ to be a registry's, found {other}")),
    })
}

/// What `/v2/` says.
pub(super) enum Answer {
    /// All there is to know.
    Found(Found),
    /// To fetch a token at this path and query of the same host.
    Tokens(Uri),
}

/// Asks `/v2/`, with the credential if there is one.
pub(super) async fn version(registry: &Registry, stream: impl Connection) -> Result<Answer, Found> {
    let reply = get(registry, Uri::from_static("/v2/"), stream).await?;
    let is_anonymous = registry.username.is_empty();
    let challenge = reply.headers().get(WWW_AUTHENTICATE).and_then(|it| it.to_str().ok());
    let challenge = challenge.and_then(Challenge::read);
    Ok(Answer::Found(match (reply.status(), challenge) {
        (StatusCode::OK, _) => (OK, "it answers".to_owned()),
        (StatusCode::UNAUTHORIZED, Some(Challenge::Bearer { .. })) if is_anonymous => {
            (OK, "it answers, and gives tokens".to_owned())
        }
        (StatusCode::UNAUTHORIZED, Some(Challenge::Bearer { realm, service, .. })) => {
            if let Some(service) = same_host(&realm, &service, &registry.domain) {
                return Ok(Answer::Tokens(service));
            }
            // The credential is not for any other host.
            (OK, "it answers; another host gives its tokens: the credential was not tried".into())
        }
        (StatusCode::UNAUTHORIZED, _) if is_anonymous => (
            UNAUTHORIZED,
            "expected an anonymous pull to do, found 401: USERNAME is empty".to_owned(),
        ),
        (StatusCode::UNAUTHORIZED, _) => {
            (UNAUTHORIZED, "USERNAME and PASSWORD are refused".to_owned())
        }
        (other, _) => (UNEXPECTED, format!("expected /v2/ to be a registry's, found {other}")),
    }))
}

/// Asks for a token with the credential.
pub(super) async fn token(
    registry: &Registry,
    service: &Uri,
    stream: impl Connection,
) -> Result<Found, Found> {
    let reply = get(registry, service.clone(), stream).await?;
    Ok(match reply.status() {
        StatusCode::OK => (OK, "it answers, and gives a token for the credential".to_owned()),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            (UNAUTHORIZED, "USERNAME and PASSWORD are refused by its token service".to_owned())
        }
        other => (UNEXPECTED, format!("expected a token, found {other}")),
    })
}

async fn get(
    registry: &Registry,
    uri: Uri,
    stream: impl Connection,
) -> Result<Response<Incoming>, Found> {
    let broken = |error: hyper::Error| (UNREACHABLE, error.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let driven = tokio::spawn(connection);
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = uri;
    if let Ok(host) = HeaderValue::from_str(&registry.domain) {
        request.headers_mut().insert(HOST, host);
    }
    if let Some(credential) = basic(registry) {
        request.headers_mut().insert(AUTHORIZATION, credential);
    }
    let reply = sender.send_request(request).await.map_err(broken);
    driven.abort();
    reply
}

fn basic(registry: &Registry) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&["Basic ", &registry.basic()?].concat()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Where a challenge says that tokens are to be had, if that is `domain` itself.
fn same_host(realm: &str, service: &str, domain: &str) -> Option<Uri> {
    let path = realm.strip_prefix("https://")?.strip_prefix(domain)?;
    if !path.starts_with('/') {
        return None;
    }
    let separator = if path.contains('?') { '&' } else { '?' };
    // A name with anything else in it would have to be escaped.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:/".contains(&byte);
    let service = if service.bytes().all(is_plain) { service } else { "" };
    format!("{path}{separator}service={service}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_credential_goes_to_no_other_host_for_a_token() {
        let asked = |realm: &str| {
            let challenge = format!(r#"Bearer realm="{realm}",service="harbor-registry",scope="""#);
            let Some(Challenge::Bearer { realm, service, .. }) = Challenge::read(&challenge) else {
                return None;
            };
            same_host(&realm, &service, "h.example.org").map(|uri| uri.to_string())
        };
        assert_eq!(
            asked("https://h.example.org/service/token").as_deref(),
            Some("/service/token?service=harbor-registry")
        );
        assert_eq!(
            asked("https://h.example.org/t?a=b").as_deref(),
            Some("/t?a=b&service=harbor-registry")
        );
        for other in [
            "https://h.example.org.evil/service/token",
            "https://h.example.org@evil/service/token",
            "https://h.example.org:8443/service/token",
            "http://h.example.org/service/token",
            "https://auth.example.org/token",
            "",
        ] {
            assert_eq!(asked(other), None, "{other}");
        }
    }
}
