//! The controller's plain port: probes and metrics.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore};
use tracing::warn;

use crate::metrics::Metrics;

/// Connections at once: kubelet, and a scraper or two.
const CONNECTIONS: usize = 32;
/// Time from the beginning of a request to the end of its headers.
const HEADERS: Duration = Duration::from_secs(5);
/// Time for a connection as a whole: a scrape takes milliseconds.
const CONNECTION: Duration = Duration::from_mins(2);
const BUFFER: usize = 16 * 1024;
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// A port that was taken.
#[derive(Debug)]
pub struct Admin {
    socket: TcpListener,
}

impl Admin {
    /// Takes the port.
    ///
    /// # Errors
    /// What the system says.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { socket: TcpListener::bind(address).await? })
    }

    /// The address with the port that was taken.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Answers for ever. The readiness does not depend on the leadership.
    pub async fn run(self, metrics: Arc<Metrics>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let stream = match self.socket.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(%error, "no connection could be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let metrics = Arc::clone(&metrics);
            tokio::spawn(async move {
                let answer = service_fn(move |request| {
                    let reply = answer(&request, &metrics);
                    async move { Ok::<_, Infallible>(reply) }
                });
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADERS)
                    .max_buf_size(BUFFER)
                    .serve_connection(TokioIo::new(stream), answer);
                // A client that leaves early, or stays too long, is its own affair.
                let _ = tokio::time::timeout(CONNECTION, connection).await;
                drop(place);
            });
        }
    }
}

fn answer(request: &Request<Incoming>, metrics: &Metrics) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return reply(StatusCode::METHOD_NOT_ALLOWED, TEXT, "expected the method GET or HEAD\n");
    }
    match request.uri().path() {
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

fn reply(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}
