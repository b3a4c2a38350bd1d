//! HTTP answers with a whole body.

use bytes::Bytes;
use hyper::{
    Response, StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
};

/// An answer with a whole body.
pub type Reply = Response<Bytes>;

/// Returns an answer with a body.
pub(crate) fn with_body(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Reply {
    let mut reply = Response::new(body.into());
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

/// Returns an answer with `body`, JSON, and a line end.
pub fn json(status: StatusCode, body: impl Into<Vec<u8>>) -> Reply {
    let mut body = body.into();
    body.push(b'\n');
    with_body(status, "application/json", body)
}

/// Returns the answer `{"message": "…"}`.
pub fn message(status: StatusCode, text: &str) -> Reply {
    json(status, serde_json::json!({ "message": text }).to_string())
}
