//! The service that sends requests to another cluster, and bounds its responses.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::{
    Request, Response, StatusCode, Uri,
    body::{Bytes, Frame, Incoming, SizeHint},
    header::{AUTHORIZATION, CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING},
    http::uri::{Authority, PathAndQuery, Scheme},
};
use image_swap_core::fleet::drift::{RefusedDetails, RefusedStatus};
use kube::client::Body;
use serde::Serialize;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tower::{BoxError, Service};

use super::{connection::RemoteTransport, error::RemoteError, limits::RemoteLimits};

/// Bytes of the longest response with an error status. A refused apply names every field.
const ERROR_MAX: usize = 256 << 10;

/// Body of a response, with its limits.
pub(super) type BoundedBody = Either<Limited<TimedBody>, Full<Bytes>>;

/// Sends requests to one server.
#[derive(Clone)]
pub(super) struct RemoteService {
    endpoint: Arc<RemoteEndpoint>,
    limits: RemoteLimits,
}

/// Server with its credential.
struct RemoteEndpoint {
    transport: RemoteTransport,
    /// Number of connections so far.
    opened: Arc<AtomicUsize>,
    authority: Authority,
    /// Path in front of all paths, without `/` at its end.
    prefix: String,
    /// Bearer token as a header; `None` for a client certificate.
    token: Option<HeaderValue>,
}

impl RemoteService {
    /// Returns the service for the server at `url`.
    ///
    /// # Errors
    /// [`RemoteError::BadAccess`].
    pub(super) fn new(
        (transport, opened): (RemoteTransport, Arc<AtomicUsize>),
        url: &Uri,
        token: Option<HeaderValue>,
        limits: &RemoteLimits,
    ) -> Result<Self, RemoteError> {
        let none = RemoteError::BadAccess("the server has no host");
        let authority = url.authority().ok_or(none)?.clone();
        let prefix = url.path().trim_end_matches('/').to_owned();
        let endpoint = Arc::new(RemoteEndpoint { transport, opened, authority, prefix, token });
        Ok(Self { endpoint, limits: *limits })
    }

    /// Returns the number of connections that were opened so far.
    pub(super) fn connections(&self) -> usize {
        self.endpoint.opened.load(Ordering::Relaxed)
    }

    /// Returns the service with a limit of `response` bytes for a response.
    pub(super) fn within(&self, response: usize) -> Self {
        let limits = RemoteLimits { response: response.min(self.limits.response), ..self.limits };
        Self { endpoint: Arc::clone(&self.endpoint), limits }
    }

    /// Sends `request` and returns the response, whose body ends with an error at its limits. An
    /// error status keeps its code and its conflicts, and loses the text of the cluster, so that no
    /// error and no log of a client quotes it.
    ///
    /// # Errors
    /// No response in time, or a redirect.
    pub(super) async fn send(
        &self,
        mut request: Request<Body>,
    ) -> Result<Response<BoundedBody>, BoxError> {
        self.endpoint.address(&mut request)?;
        let response = timeout(self.limits.idle, self.endpoint.transport.request(request)).await;
        let response = response.map_err(|_| RemoteError::TimedOut)??;
        bounded(response, self.limits).await
    }
}

impl RemoteEndpoint {
    /// Completes the URL of `request`, and adds the credential.
    fn address(&self, request: &mut Request<Body>) -> Result<(), BoxError> {
        let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
        let path = if self.prefix.is_empty() {
            request.uri().path_and_query().cloned()
        } else {
            Some(PathAndQuery::try_from(format!("{}{path}", self.prefix))?)
        };
        let mut parts = hyper::http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTPS);
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = path.or_else(|| Some(PathAndQuery::from_static("/")));
        *request.uri_mut() = Uri::from_parts(parts)?;
        if let Some(token) = &self.token {
            request.headers_mut().insert(AUTHORIZATION, token.clone());
        }
        Ok(())
    }
}

impl Service<Request<Body>> for RemoteService {
    type Response = Response<BoundedBody>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<BoundedBody>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { service.send(request).await })
    }
}

/// Body that ends with an error if nothing arrives for too long. A connection with another request
/// may be busy at that time.
pub(super) struct TimedBody {
    body: Incoming,
    idle: Duration,
    /// Time until the error; `None` before the first wait.
    wait: Option<Pin<Box<Sleep>>>,
    is_waiting: bool,
}

impl hyper::body::Body for TimedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self { body, idle, wait, is_waiting } = &mut *self;
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(context) {
            *is_waiting = false;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let wait = wait.get_or_insert_with(|| Box::pin(sleep(*idle)));
        if !std::mem::replace(is_waiting, true) {
            wait.as_mut().reset(Instant::now() + *idle);
        }
        wait.as_mut().poll(context).map(|()| Some(Err(RemoteError::TimedOut.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Limits the body of `response`, and replaces that of an error status.
async fn bounded(
    response: Response<Incoming>,
    limits: RemoteLimits,
) -> Result<Response<BoundedBody>, BoxError> {
    let (mut parts, body) = response.into_parts();
    if parts.status.is_success() {
        let body = TimedBody { body, idle: limits.idle, wait: None, is_waiting: false };
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
async fn read(mut body: Incoming) -> Option<Vec<u8>> {
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

/// `Status` of Kubernetes without a text of the server.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OwnStatus {
    kind: &'static str,
    api_version: &'static str,
    status: &'static str,
    message: &'static str,
    reason: &'static str,
    details: RefusedDetails,
    code: u16,
}

/// Returns a `Status` for `code`, with the causes of `found`.
fn own_status(code: u16, found: &[u8]) -> String {
    let found: RefusedStatus = serde_json::from_slice(found).unwrap_or_default();
    // No tree of values: it would need many times the bytes of the causes.
    let status = OwnStatus {
        kind: "Status",
        api_version: "v1",
        status: "Failure",
        message: "the API server refused the request",
        reason: if code == 410 { "Expired" } else { "Refused" },
        details: found.details,
        code,
    };
    serde_json::to_string(&status).unwrap_or_default()
}
