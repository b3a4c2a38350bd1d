//! Clients of other clusters.

use hyper::{Method, body::Bytes, header::HeaderValue};
use image_swap_core::fleet::kubeconfig::{RemoteAccess, RemoteCredential};
use image_swap_text::base64;
use kube::{Client, Config, client::ConfigExt as _, config::AuthInfo};
use rustls::pki_types::ServerName;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use super::{
    connection::RemoteTransport,
    error::RemoteError,
    limits::RemoteLimits,
    request::RemoteRequest,
    service::{BoundedBody, RemoteService},
};

/// Bytes of the longest response that is parsed. It is an object without its content.
const PARSED_MAX: usize = 1 << 20;
/// Response with the metadata of an object alone.
pub const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
/// Response with a whole object.
pub const JSON: &str = "application/json";
/// Body of a merge patch (RFC 7396).
pub const MERGE: &str = "application/merge-patch+json";
/// Body of a server-side apply.
pub const APPLY: &str = "application/apply-patch+yaml";

/// Client of another cluster, with a connection of its own.
#[derive(Clone)]
pub struct RemoteClient {
    service: RemoteService,
    limits: RemoteLimits,
}

/// Status with which the API server refused a request.
pub struct RefusedRequest {
    /// HTTP status.
    pub code: u16,
    /// `Status` with the conflicts of a refused apply.
    pub status: Bytes,
}

/// Returns the text of `value` as a body.
pub fn json_body(value: &Value) -> Bytes {
    value.to_string().into()
}

impl RemoteClient {
    /// Returns a client for `access`. It has a connection of its own, or several over HTTP/1.1,
    /// follows no redirect, uses no proxy, and repeats no request. No request is sent.
    ///
    /// # Errors
    /// [`RemoteError::BadAccess`].
    pub fn connect(access: &RemoteAccess, limits: &RemoteLimits) -> Result<Self, RemoteError> {
        // image-swap uses ring. Another provider that is already installed stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let invalid = RemoteError::BadAccess("invalid credential or certificate");
        let config = config(access)?;
        let tls = config.rustls_client_config().map_err(|_| invalid)?;
        let name = access.tls_server_name.clone().map(ServerName::try_from);
        let name = name.transpose().map_err(|_| invalid)?;
        let token = match &access.credential {
            RemoteCredential::Token(token) => {
                let header = HeaderValue::from_str(&format!("Bearer {token}"));
                let mut header = header.map_err(|_| invalid)?;
                // No log and no table of HTTP/2 contains it.
                header.set_sensitive(true);
                Some(header)
            }
            RemoteCredential::Certificate { .. } => None,
        };
        let url = &config.cluster_url;
        let authority = url.authority().ok_or(RemoteError::BadAccess("the server has no host"))?;
        let transport = RemoteTransport::new(tls, name, authority.clone(), limits);
        let service = RemoteService::new(transport, url, token, limits);
        Ok(Self { service, limits: *limits })
    }

    /// Returns a client of kube for watches, with a task of its own. The connection and the limits of
    /// responses are those of [`send`](Self::send).
    pub fn client(&self) -> Client {
        Client::new(self.service.clone(), "default")
    }

    /// Returns a client of kube, as [`Self::client`], for responses of at most `max` bytes.
    pub fn client_within(&self, max: usize) -> Client {
        Client::new(self.service.within(max), "default")
    }

    /// Returns the number of connections that were opened so far. Another server may answer over a
    /// new one.
    pub fn connections(&self) -> usize {
        self.service.connections()
    }

    /// Returns the limits.
    pub const fn limits(&self) -> &RemoteLimits {
        &self.limits
    }

    /// Sends `request` and returns the parsed response; the status if it is an error.
    ///
    /// # Errors
    /// No response, or one that is not of an API server.
    pub async fn send<T: DeserializeOwned>(
        &self,
        request: RemoteRequest<'_>,
    ) -> Result<Result<T, RefusedRequest>, RemoteError> {
        self.send_within(request, PARSED_MAX).await
    }

    /// Sends `request` and returns the parsed response of at most `max` bytes; the status if it is
    /// an error.
    ///
    /// # Errors
    /// No response, or one that is not of an API server.
    pub async fn send_within<T: DeserializeOwned>(
        &self,
        request: RemoteRequest<'_>,
        max: usize,
    ) -> Result<Result<T, RefusedRequest>, RemoteError> {
        let exchange = Box::pin(self.service.exchange(request, max));
        let exchanged = timeout(self.limits.request, exchange).await;
        let exchanged = exchanged.map_err(|_| RemoteError::TimedOut)?;
        let (code, bytes) = exchanged.map_err(|error| RemoteError::of(&*error))?;
        if !code.is_success() {
            return Ok(Err(RefusedRequest { code: code.as_u16(), status: bytes }));
        }
        // No client of kube: it logs the text of a response that it rejects.
        let parsed = serde_json::from_slice(&bytes).map_err(|_| RemoteError::BadResponse)?;
        Ok(Ok(parsed))
    }

    /// Sends `request` and returns the body of its response, which may last.
    ///
    /// # Errors
    /// No response, or an error status.
    pub(super) async fn open(
        &self,
        request: RemoteRequest<'_>,
    ) -> Result<BoundedBody, RemoteError> {
        let opened = timeout(self.limits.request, self.service.send(request.build()?)).await;
        let response = opened.map_err(|_| RemoteError::TimedOut)?;
        let response = response.map_err(|error| RemoteError::of(&*error))?;
        if response.status().is_success() {
            Ok(response.into_body())
        } else {
            Err(RemoteError::of_code(response.status().as_u16()))
        }
    }

    /// Sends `request` and returns the parsed response; `None` for the status 404.
    ///
    /// # Errors
    /// No response, or another status than success and 404.
    pub async fn read<T: DeserializeOwned>(
        &self,
        path: &str,
        accept: &'static str,
    ) -> Result<Option<T>, RemoteError> {
        let request = RemoteRequest { method: Method::GET, path, accept, body: None };
        match self.send(request).await? {
            Ok(found) => Ok(Some(found)),
            Err(RefusedRequest { code: 404, .. }) => Ok(None),
            Err(RefusedRequest { code, .. }) => Err(RemoteError::of_code(code)),
        }
    }
}

/// Returns the address of the server, its authority and the client certificate.
fn config(access: &RemoteAccess) -> Result<Config, RemoteError> {
    let invalid = RemoteError::BadAccess;
    let url: hyper::Uri = access.server.parse().map_err(|_| invalid("the server is no URL"))?;
    if url.scheme_str() != Some("https") {
        return Err(invalid("the server is no URL with https"));
    }
    let mut config = Config::new(url);
    config.root_cert = access.authority.as_deref().map(authorities).transpose()?;
    if let RemoteCredential::Certificate { chain, key } = &access.credential {
        config.auth_info = AuthInfo {
            client_certificate_data: Some(base64::encode(chain)),
            client_key_data: Some(base64::encode(key).into()),
            ..AuthInfo::default()
        };
    }
    Ok(config)
}

/// Returns the certificates in `pem` as DER.
fn authorities(pem: &[u8]) -> Result<Vec<Vec<u8>>, RemoteError> {
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};

    let invalid = RemoteError::BadAccess("the authority is no certificate in PEM");
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(pem).map(|it| it.map(|it| it.to_vec())).collect();
    found.ok().filter(|it| !it.is_empty()).ok_or(invalid)
}
