//! The service that sends requests to another cluster, and bounds its responses.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::{
    Request, Response, StatusCode, Uri,
    body::{Bytes, Frame, Incoming, SizeHint},
    header::{AUTHORIZATION, CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING},
    http::uri::PathAndQuery,
};
use image_swap_core::fleet::drift::{RefusedDetails, RefusedStatus};
use kube::client::Body;
use serde::Serialize;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tower::{BoxError, Service};

use super::{
    connection::RemoteTransport, error::RemoteError, limits::RemoteLimits, request::RemoteRequest,
};

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
    /// Path in front of all paths, without `/` at its end.
    prefix: String,
    /// Bearer token as a header; `None` for a client certificate.
    token: Option<HeaderValue>,
}

impl RemoteService {
    /// Returns the service for a server whose paths begin with the path of `url`.
    pub(super) fn new(
        transport: RemoteTransport,
        url: &Uri,
        token: Option<HeaderValue>,
        limits: &RemoteLimits,
    ) -> Self {
        let prefix = url.path().trim_end_matches('/').to_owned();
        let endpoint = Arc::new(RemoteEndpoint { transport, prefix, token });
        Self { endpoint, limits: *limits }
    }

    /// Returns the number of connections that were opened so far.
    pub(super) fn connections(&self) -> usize {
        self.endpoint.transport.opened()
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
        request: Request<Body>,
    ) -> Result<Response<BoundedBody>, BoxError> {
        let response = timeout(self.limits.idle, self.begin(request)?).await;
        let response = response.map_err(|_| RemoteError::TimedOut)??;
        bounded(response, self.limits).await
    }

    /// Sends `request` and returns the status of the response with its whole body, of at most `max`
    /// bytes. An error status has a body as [`Self::send`] returns it. The caller limits the time.
    ///
    /// # Errors
    /// No response, a redirect, or a body beyond `max`.
    pub(super) async fn exchange(
        &self,
        request: RemoteRequest<'_>,
        max: usize,
    ) -> Result<(StatusCode, Bytes), BoxError> {
        // Boxed, as the whole exchange: an allocation of more than a KiB is slow.
        let begun = Box::pin(self.begin(request.build()?)?);
        let response = begun.await?;
        let status = response.status();
        if status.is_success() {
            let max = max.min(self.limits.response);
            return Ok((status, read(Limited::new(response.into_body(), max)).await?));
        }
        let refused = Box::pin(refusal(status, response.into_body(), self.limits)).await?;
        Ok((status, refused))
    }

    /// Sends `request` and returns the response, whose body has no limits.
    ///
    /// # Errors
    /// The path is none of a URL. The future returns an error without a response.
    fn begin(
        &self,
        mut request: Request<Body>,
    ) -> Result<impl Future<Output = Result<Response<Incoming>, BoxError>> + Send, BoxError> {
        let RemoteEndpoint { transport, prefix, token } = &*self.endpoint;
        if !prefix.is_empty() {
            let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
            *request.uri_mut() = Uri::try_from(format!("{prefix}{path}"))?;
        }
        if let Some(token) = token {
            request.headers_mut().insert(AUTHORIZATION, token.clone());
        }
        Ok(transport.send(request))
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
    let refused = refusal(parts.status, body, limits).await?;
    for header in [CONTENT_LENGTH, TRANSFER_ENCODING] {
        parts.headers.remove(header);
    }
    Ok(Response::from_parts(parts, Either::Right(Full::new(refused))))
}

/// Returns the body that replaces `body`, of a response with an error status.
///
/// # Errors
/// The status is no error.
async fn refusal(
    status: StatusCode,
    body: Incoming,
    limits: RemoteLimits,
) -> Result<Bytes, RemoteError> {
    let code = status.as_u16();
    if code < 400 {
        // A redirect, most likely.
        return Err(RemoteError::Refused(code));
    }
    let bytes = if status == StatusCode::CONFLICT {
        let read = timeout(limits.request, read(Limited::new(body, ERROR_MAX))).await;
        read.ok().and_then(Result::ok).unwrap_or_default()
    } else {
        Bytes::new()
    };
    Ok(own_status(code, &bytes).into())
}

/// Returns the bytes of `body`.
///
/// # Errors
/// The body ends early, or exceeds its limit.
async fn read(mut body: Limited<Incoming>) -> Result<Bytes, BoxError> {
    let mut first = Bytes::new();
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if first.is_empty() {
            first = data;
        } else {
            if all.is_empty() {
                all.extend_from_slice(&first);
            }
            all.extend_from_slice(&data);
        }
    }
    // Most bodies are one frame, which is not copied.
    Ok(if all.is_empty() { first } else { all.into() })
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
