//! What a request to the plain port is answered with: probes, metrics, and what is
//! served.

use std::sync::Arc;

use hyper::{
    Method, Request, StatusCode,
    body::Incoming,
    header::{ALLOW, HeaderValue},
};
use image_swap_core::status::ReplicaStatus;

use crate::{
    activity::Work,
    certificate::CertificateInForce,
    connection::Handler,
    metrics::Metrics,
    phase::PhaseView,
    reply::{self, Reply, with_body},
    rules::RulesInForce,
    settings::SettingsInForce,
};

const TEXT: &str = "text/plain; charset=utf-8";

/// Answers probes and scrapes.
pub(crate) struct Admin {
    pub(crate) rules: RulesInForce,
    pub(crate) certificate: CertificateInForce,
    pub(crate) settings: SettingsInForce,
    pub(crate) metrics: Arc<Metrics>,
    /// The phase of the TLS port, not of the plain one.
    pub(crate) phase: PhaseView,
}

impl Handler for Admin {
    async fn handle(&self, request: Request<Incoming>, _work: &mut Work) -> Reply {
        let known = matches!(request.uri().path(), "/healthz" | "/readyz" | "/metrics" | "/status");
        if !known {
            return reply::message(
                StatusCode::NOT_FOUND,
                "expected the path /healthz, /readyz, /metrics or /status, found another",
            );
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut reply = reply::message(
                StatusCode::METHOD_NOT_ALLOWED,
                "expected the method GET or HEAD, found another",
            );
            reply.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return reply;
        }
        match request.uri().path() {
            "/metrics" => self.metrics(),
            "/readyz" => self.ready(),
            "/status" => self.status(),
            // That it answers at all is the answer.
            _ => with_body(StatusCode::OK, TEXT, "alive\n"),
        }
    }
}

impl Admin {
    fn ready(&self) -> Reply {
        let lacks = if !self.phase.is_serving() {
            "not ready: draining\n"
        } else if self.rules.current().is_none() {
            "not ready: no declaration has been read\n"
        } else if self.certificate.current().is_none() {
            "not ready: no certificate has been read\n"
        } else {
            return with_body(StatusCode::OK, TEXT, "ready\n");
        };
        with_body(StatusCode::SERVICE_UNAVAILABLE, TEXT, lacks)
    }

    /// What this server serves, so that servers can be compared. Holds nothing that
    /// is not for anybody to know.
    fn status(&self) -> Reply {
        let revision = self.rules.revision();
        let settings = self.settings.current();
        let status = ReplicaStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            serving: self.phase.is_serving(),
            source: revision.source.clone(),
            hash: revision.hash.clone(),
            rules: self.rules.current().map(|rules| rules.rules().len()),
            mode: Some(settings.mode),
            pull_secret: settings.pull_secret.is_some(),
            certificate_expires: self.certificate.current().map(|it| it.expires()),
        };
        reply::json(StatusCode::OK, serde_json::json!(status).to_string())
    }

    fn metrics(&self) -> Reply {
        match self.metrics.text() {
            Ok(text) => with_body(
                StatusCode::OK,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
                text,
            ),
            Err(error) => reply::message(
                StatusCode::INTERNAL_SERVER_ERROR,
                &format!("metrics could not be written: {error}"),
            ),
        }
    }
}
