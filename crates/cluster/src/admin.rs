//! The controller's plain port: probes and metrics.

use std::{io, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use hyper::{
    Method, Response, StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
};
use image_swap_webhook::PlainPort;

use crate::metrics::Metrics;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// A port that is bound. Its clients are limited as those of a replica's plain port.
#[derive(Debug)]
pub struct Admin {
    port: PlainPort,
}

impl Admin {
    /// Binds the port.
    ///
    /// # Errors
    /// If the system refuses the address.
    #[expect(clippy::unused_async, reason = "the socket needs a runtime")]
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { port: PlainPort::bind(address)? })
    }

    /// Returns the address with the port that was bound.
    ///
    /// # Errors
    /// If the system does not report it.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.port.address()
    }

    /// Answers requests until this future is dropped. The readiness does not depend on the
    /// leadership.
    pub async fn run(self, metrics: Arc<Metrics>) {
        self.port.serve(move |method, path| answer(method, path, &metrics)).await;
    }
}

fn answer(method: &Method, path: &str, metrics: &Metrics) -> Response<Bytes> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return reply(StatusCode::METHOD_NOT_ALLOWED, TEXT, "expected the method GET or HEAD\n");
    }
    match path {
        "/healthz" => reply(StatusCode::OK, TEXT, "alive\n"),
        "/readyz" if !metrics.is_ready() => {
            reply(StatusCode::SERVICE_UNAVAILABLE, TEXT, "the registration is not in force yet\n")
        }
        "/readyz" => reply(StatusCode::OK, TEXT, "ready\n"),
        "/metrics" => match metrics.text() {
            Ok(text) => reply(StatusCode::OK, OPEN_METRICS, text),
            Err(_) => reply(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "no metrics\n"),
        },
        _ => reply(StatusCode::NOT_FOUND, TEXT, "expected /healthz, /readyz or /metrics\n"),
    }
}

fn reply(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut reply = Response::new(body.into());
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}
