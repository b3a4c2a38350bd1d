//! The admin port: probes, metrics and pages in plain HTTP/1.1, limited as the TLS port.

use std::{future::ready, io, net::SocketAddr};

use hyper::{
    Method, Request, StatusCode,
    body::Incoming,
    header::{ALLOW, HeaderValue},
};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use crate::{
    activity::InFlightRequest,
    connection::{ConnectionServer, Handler, PendingReply},
    connections::OpenConnections,
    limits::{Limits, PLAIN_MEMORY},
    listener::{self, listen},
    metrics,
    phase::PhaseView,
    reply::{self, Reply, with_body},
};

const TEXT: &str = "text/plain; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The content of an admin port.
pub trait AdminPages: Send + Sync + 'static {
    /// Returns the paths of the port in words, for the message about an unknown path.
    fn paths(&self) -> &'static str {
        "/healthz, /readyz or /metrics"
    }

    /// Returns the reason why the program is not ready; `None` if it is.
    fn not_ready(&self) -> Option<&'static str>;

    /// Returns the metrics of the program.
    fn registry(&self) -> &Registry;

    /// Returns the JSON of a path that only this program has; `None` if there is no such path.
    fn page(&self, _path: &str, _is_serving: bool) -> Option<String> {
        None
    }
}

/// A bound admin port.
///
/// Any client may connect while there is memory. Without memory, the address with the most
/// unfinished work gives way first, and idle connections follow, so that a probe is always
/// answered.
#[derive(Debug)]
pub struct AdminPort(TcpListener);

impl AdminPort {
    /// Binds `address` on the calling runtime.
    ///
    /// # Errors
    /// Returns the system's error if the address cannot be bound.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        listener::bind(address).map(Self)
    }

    /// Returns the bound address, with the port number that the system chose for port 0.
    ///
    /// # Errors
    /// Returns the system's error if it does not report the address.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Answers requests until this future is dropped.
    pub async fn serve(self, pages: impl AdminPages) {
        let (_serving, phase) = PhaseView::begin();
        // All connections end when the sender drops.
        let (_open, own_phase) = PhaseView::begin();
        let admin = AdminHandler { pages: Box::new(pages), phase };
        self.serve_beside(admin, Limits::default(), own_phase).await;
    }

    /// Answers requests until `own_phase` is over. The readiness is that of another phase.
    pub(crate) async fn serve_beside(
        self,
        admin: AdminHandler,
        limits: Limits,
        own_phase: PhaseView,
    ) {
        let connections = OpenConnections::new(PLAIN_MEMORY, &limits);
        let server = ConnectionServer::new(Box::new(admin), None, limits, own_phase);
        listen(self.0, server, connections).await;
    }
}

/// The handler of an admin port.
pub(crate) struct AdminHandler {
    pub(crate) pages: Box<dyn AdminPages>,
    /// The phase of the TLS port, not of the admin port.
    pub(crate) phase: PhaseView,
}

impl Handler for AdminHandler {
    fn handle<'a>(
        &'a self,
        request: Request<Incoming>,
        _work: &'a mut InFlightRequest,
    ) -> PendingReply<'a> {
        Box::pin(ready(self.answer(&request)))
    }
}

impl AdminHandler {
    fn answer(&self, request: &Request<Incoming>) -> Reply {
        let reply = match request.uri().path() {
            "/healthz" => with_body(StatusCode::OK, TEXT, "alive\n"),
            "/readyz" => self.ready(),
            "/metrics" => self.metrics(),
            path => {
                let Some(page) = self.pages.page(path, self.phase.is_serving()) else {
                    let text = format!("expected the path {}, found another", self.pages.paths());
                    return reply::message(StatusCode::NOT_FOUND, &text);
                };
                reply::json(StatusCode::OK, page)
            }
        };
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            return reply;
        }
        let text = "expected the method GET or HEAD, found another";
        let mut reply = reply::message(StatusCode::METHOD_NOT_ALLOWED, text);
        reply.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        reply
    }

    fn ready(&self) -> Reply {
        let reason = if self.phase.is_serving() {
            self.pages.not_ready()
        } else {
            Some("not ready: draining\n")
        };
        match reason {
            Some(reason) => with_body(StatusCode::SERVICE_UNAVAILABLE, TEXT, reason),
            None => with_body(StatusCode::OK, TEXT, "ready\n"),
        }
    }

    fn metrics(&self) -> Reply {
        match metrics::text(self.pages.registry()) {
            Ok(text) => with_body(StatusCode::OK, OPEN_METRICS, text),
            Err(error) => reply::message(
                StatusCode::INTERNAL_SERVER_ERROR,
                &format!("cannot encode the metrics: {error}"),
            ),
        }
    }
}
