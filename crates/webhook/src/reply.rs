//! Answers.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
};

/// Any answer of ours.
pub(crate) type Reply = Response<Full<Bytes>>;

/// An answer with a body.
pub(crate) fn with_body(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

/// JSON.
pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    with_body(status, "application/json", body)
}

/// `{"message": "…"}`
pub(crate) fn message(status: StatusCode, text: &str) -> Reply {
    json(status, serde_json::json!({ "message": text }).to_string())
}
