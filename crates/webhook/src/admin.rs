//! The admin pages of a replica: its readiness, its metrics and its status.

use std::sync::Arc;

use image_swap_core::status::ReplicaStatus;
use image_swap_serve::{AdminPages, pki::CertificateInForce};
use prometheus_client::registry::Registry;

use crate::{metrics::AdmissionMetrics, rules::RulesInForce, settings::SettingsInForce};

/// The admin pages of a replica.
pub(crate) struct ReplicaPages {
    pub(crate) rules: RulesInForce,
    pub(crate) certificate: CertificateInForce,
    pub(crate) settings: SettingsInForce,
    pub(crate) metrics: Arc<AdmissionMetrics>,
}

impl AdminPages for ReplicaPages {
    fn paths(&self) -> &'static str {
        "/healthz, /readyz, /metrics or /status"
    }

    fn not_ready(&self) -> Option<&'static str> {
        if self.rules.current().is_none() {
            Some("not ready: no declaration is loaded\n")
        } else if self.certificate.current().is_none() {
            Some("not ready: no certificate is loaded\n")
        } else {
            None
        }
    }

    fn registry(&self) -> &Registry {
        &self.metrics.registry
    }

    fn page(&self, path: &str, is_serving: bool) -> Option<String> {
        (path == "/status").then(|| self.status(is_serving))
    }
}

impl ReplicaPages {
    /// Returns the JSON of `/status`: rules, settings and certificate in force, by which replicas
    /// are compared. Contains no secret.
    fn status(&self, is_serving: bool) -> String {
        let revision = self.rules.revision();
        let settings = self.settings.current();
        let status = ReplicaStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            serving: is_serving,
            source: revision.source.clone(),
            hash: revision.hash.clone(),
            rules: self.rules.current().map(|rules| rules.rules().len()),
            mode: Some(settings.mode),
            pull_secret: settings.pull_secret.is_some(),
            certificate_expires: self.certificate.current().map(|it| it.expires()),
        };
        serde_json::json!(status).to_string()
    }
}
