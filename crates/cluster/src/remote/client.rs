//! Clients of other clusters.

use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Bytes,
    header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING},
};
use image_swap_core::fleet::kubeconfig::{RemoteAccess, RemoteCredential};
use image_swap_text::base64;
use kube::{
    Client, Config,
    client::{Body, ClientBuilder, DynBody},
    config::AuthInfo,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::time::timeout;
use tower::{BoxError, util::AndThenLayer};

use super::{error::RemoteError, limits::RemoteLimits};

/// Bytes of the longest response with an error status. A refused apply names every field.
const ERROR_MAX: usize = 256 << 10;
/// Bytes of the longest response that is parsed. It is an object without its content.
const PARSED_MAX: usize = 1 << 20;
/// Response with the metadata of an object alone.
pub const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
/// Response with a whole object.
pub const JSON: &str = "application/json";
/// Body of a server-side apply.
pub const APPLY: &str = "application/apply-patch+yaml";

type BoundedBody = Either<Limited<Box<DynBody>>, Full<Bytes>>;

/// Client of another cluster, with connections of its own.
#[derive(Clone)]
pub struct RemoteClient {
    client: Client,
    limits: RemoteLimits,
}

/// Request for an object.
pub struct RemoteRequest<'r> {
    /// Method.
    pub method: Method,
    /// Path with query.
    pub path: &'r str,
    /// Type of the response.
    pub accept: &'static str,
    /// Body with its type; `None` without one.
    pub body: Option<(&'static str, &'r Value)>,
}

/// Status with which the API server refused a request.
pub struct RefusedRequest {
    /// HTTP status.
    pub code: u16,
    /// `Status` with the conflicts of a refused apply.
    pub status: Bytes,
}

impl RemoteClient {
    /// Returns a client for `access`. It has connections of its own, follows no redirect, uses no
    /// proxy, and repeats no request. No request is sent.
    ///
    /// # Errors
    /// [`RemoteError::BadAccess`].
    pub fn connect(access: &RemoteAccess, limits: &RemoteLimits) -> Result<Self, RemoteError> {
        // image-swap uses ring. Another provider that is already installed stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = config(access, limits)?;
        let bad = |_| RemoteError::BadAccess("invalid credential or certificate");
        let builder = ClientBuilder::try_from(config).map_err(bad)?;
        let limits = *limits;
        let client = builder
            .with_layer(&AndThenLayer::new(move |response| bounded(response, limits)))
            .build();
        Ok(Self { client, limits })
    }

    /// Returns the client, for watches. Its responses are bounded as well.
    pub const fn client(&self) -> &Client {
        &self.client
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
        let RemoteRequest { method, path, accept, body } = request;
        let mut built = Request::builder().method(method).uri(path).header(ACCEPT, accept);
        if let Some((kind, _)) = body {
            built = built.header(CONTENT_TYPE, kind);
        }
        let body = body.map(|(_, body)| body.to_string().into_bytes()).unwrap_or_default();
        let built =
            built.body(Body::from(body)).map_err(|_| RemoteError::BadAccess("invalid path"))?;
        let exchange = async {
            let response = self.client.send(built).await?;
            let code = response.status();
            // The client parses nothing itself: kube logs the text of a response that it rejects.
            let body = Limited::new(response.into_body(), max).collect().await;
            let bytes = body.map_err(|error| RemoteError::of(&*error))?.to_bytes();
            Ok::<_, RemoteError>((code, bytes))
        };
        let exchanged = timeout(self.limits.request, exchange).await;
        let (code, bytes) = exchanged.map_err(|_| RemoteError::TimedOut)??;
        if !code.is_success() {
            return Ok(Err(RefusedRequest { code: code.as_u16(), status: bytes }));
        }
        let parsed = serde_json::from_slice(&bytes).map_err(|_| RemoteError::BadResponse)?;
        Ok(Ok(parsed))
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

/// Returns the configuration of a client for `access`.
fn config(access: &RemoteAccess, limits: &RemoteLimits) -> Result<Config, RemoteError> {
    let invalid = RemoteError::BadAccess;
    let url: hyper::Uri = access.server.parse().map_err(|_| invalid("the server is no URL"))?;
    if url.scheme_str() != Some("https") {
        return Err(invalid("the server is no URL with https"));
    }
    let mut config = Config::new(url);
    config.root_cert = access.authority.as_deref().map(authorities).transpose()?;
    config.tls_server_name.clone_from(&access.tls_server_name);
    config.connect_timeout = Some(limits.connect);
    config.read_timeout = Some(limits.idle);
    config.write_timeout = Some(limits.idle);
    config.reset_reader_on_write = true;
    config.proxy_url = None;
    config.default_retry = false;
    config.auth_info = match &access.credential {
        RemoteCredential::Token(token) => {
            AuthInfo { token: Some(token.clone().into()), ..AuthInfo::default() }
        }
        RemoteCredential::Certificate { chain, key } => AuthInfo {
            client_certificate_data: Some(base64::encode(chain)),
            client_key_data: Some(base64::encode(key).into()),
            ..AuthInfo::default()
        },
    };
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

/// Limits the body of `response`. An error status keeps its code and its conflicts, and loses the
/// text of the cluster, so that no error and no log of a client quotes it.
async fn bounded(
    response: Response<Box<DynBody>>,
    limits: RemoteLimits,
) -> Result<Response<BoundedBody>, BoxError> {
    let (mut parts, body) = response.into_parts();
    if parts.status.is_success() {
        let body = Either::Left(Limited::new(body, limits.response));
        return Ok(Response::from_parts(parts, body));
    }
    let code = parts.status.as_u16();
    if code < 400 {
        // A redirect, most likely.
        return Err(RemoteError::Refused(code).into());
    }
    let bytes = if parts.status == StatusCode::CONFLICT {
        timeout(limits.request, read(body)).await.ok().flatten().unwrap_or_default()
    } else {
        Vec::new()
    };
    for header in [CONTENT_LENGTH, TRANSFER_ENCODING] {
        parts.headers.remove(header);
    }
    let status = own_status(code, &bytes);
    Ok(Response::from_parts(parts, Either::Right(Full::new(status.into()))))
}

/// Returns the bytes of `body`; `None` if it ends early or exceeds [`ERROR_MAX`].
async fn read(mut body: Box<DynBody>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.ok()?.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() > ERROR_MAX {
            return None;
        }
    }
    Some(bytes)
}

/// Returns a `Status` for `code`, with the causes of `found`.
fn own_status(code: u16, found: &[u8]) -> String {
    #[derive(Default, Deserialize)]
    struct Found {
        #[serde(default)]
        details: FoundDetails,
    }
    #[derive(Default, Deserialize)]
    struct FoundDetails {
        #[serde(default)]
        causes: Vec<Cause>,
    }
    #[derive(Default, Deserialize, serde::Serialize)]
    struct Cause {
        #[serde(default)]
        reason: String,
        #[serde(default)]
        field: String,
        #[serde(default)]
        message: String,
    }
    let found: Found = serde_json::from_slice(found).unwrap_or_default();
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": "the API server refused the request",
        "reason": if code == 410 { "Expired" } else { "Refused" },
        "details": { "causes": found.details.causes },
        "code": code,
    })
    .to_string()
}
