//! Tokens of service accounts of another cluster.

use hyper::Method;
use image_swap_core::declaration::UnixTime;
use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::{
    client::{JSON, RemoteClient, json_body},
    error::RemoteError,
    request::RemoteRequest,
};

/// Longest token, in bytes.
const TOKEN_MAX: usize = 16 << 10;

/// Token of a service account.
#[derive(Clone, PartialEq, Eq)]
pub struct IssuedToken {
    /// Bearer token.
    pub token: String,
    /// Time at which it expires, by the response of the API server.
    pub expires: UnixTime,
}

impl std::fmt::Debug for IssuedToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("IssuedToken")
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct TokenResponse {
    status: TokenStatus,
}

#[derive(Deserialize)]
struct TokenStatus {
    token: String,
    #[serde(rename = "expirationTimestamp")]
    expires: String,
}

impl RemoteClient {
    /// Requests a token of the service account at `path`, with a life of `life` seconds.
    ///
    /// # Errors
    /// The cluster does not respond, or refuses the request.
    pub async fn request_token(
        &self,
        path: &str,
        life: UnixTime,
        now: UnixTime,
    ) -> Result<IssuedToken, RemoteError> {
        let body = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": { "expirationSeconds": life },
        });
        let path = format!("{path}/token");
        let body = Some((JSON, json_body(&body)));
        let request = RemoteRequest { method: Method::POST, path: &path, accept: JSON, body };
        let response = self.send::<TokenResponse>(request).await?;
        let TokenStatus { token, expires } =
            response.map_err(|it| RemoteError::of_code(it.code))?.status;
        let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        let is_token = (1..=TOKEN_MAX).contains(&token.len()) && token.bytes().all(is_inner);
        let expires = expires.parse::<Timestamp>().map_err(|_| RemoteError::BadResponse)?;
        let expires = UnixTime::try_from(expires.as_second()).unwrap_or_default();
        if !is_token || expires <= now {
            return Err(RemoteError::BadResponse);
        }
        // The API server may shorten the life; it never grants a longer one.
        Ok(IssuedToken { token, expires: expires.min(now + life) })
    }
}
