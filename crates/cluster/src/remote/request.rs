//! Requests for objects.

use hyper::{
    Method, Request,
    body::Bytes,
    header::{ACCEPT, CONTENT_TYPE, HeaderValue},
};
use kube::client::Body;

use super::error::RemoteError;

/// Request for an object.
pub struct RemoteRequest<'r> {
    /// Method.
    pub method: Method,
    /// Path with query.
    pub path: &'r str,
    /// Type of the response.
    pub accept: &'static str,
    /// Body with its type; `None` without one.
    pub body: Option<(&'static str, Bytes)>,
}

impl RemoteRequest<'_> {
    /// Returns the request of HTTP, without host and credential.
    pub(super) fn build(self) -> Result<Request<Body>, RemoteError> {
        let Self { method, path, accept, body } = self;
        let mut built = Request::builder().method(method).uri(path);
        built = built.header(ACCEPT, HeaderValue::from_static(accept));
        let (kind, body) = body.unzip();
        if let Some(kind) = kind {
            built = built.header(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        built
            .body(Body::from(body.unwrap_or_default()))
            .map_err(|_| RemoteError::BadAccess("invalid path"))
    }
}
