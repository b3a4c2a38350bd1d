//! The webhook as a server: its configuration, handler and admin pages.

use std::{net::SocketAddr, sync::Arc};

use image_swap_serve::{BindError, Bound, Limits, Server, pki::CertificateInForce};
use tokio::sync::Semaphore;

use crate::{
    admin::ReplicaPages, metrics::AdmissionMetrics, routes::Routes, rules::RulesInForce,
    settings::SettingsInForce, templates::TemplateNamespaces,
};

/// Number of large bodies that are reviewed at the same time.
const LARGE_REVIEWS: usize = 1;

/// The configuration of a webhook that has not bound its ports yet.
#[derive(Debug)]
pub struct Webhook {
    /// Address of the TLS port, which answers reviews.
    pub listen: SocketAddr,
    /// Address of the admin port, in plain HTTP/1.1.
    pub admin_listen: SocketAddr,
    /// Limits on clients.
    pub limits: Limits,
    /// Settings of reviews.
    pub settings: SettingsInForce,
    /// Rules of reviews. Without any the webhook runs, but is not ready.
    pub rules: RulesInForce,
    /// Namespaces whose machine templates get the bootstrap script.
    pub templates: TemplateNamespaces,
    /// Serving certificate. Without one the webhook runs, but is not ready.
    pub certificate: CertificateInForce,
    /// Counters of the webhook.
    pub metrics: Arc<AdmissionMetrics>,
}

impl Webhook {
    /// Binds both ports on the calling runtime, and accepts nothing yet.
    ///
    /// # Errors
    /// Returns an error if either port cannot be bound. The other one is free again.
    pub fn bind(self) -> Result<Bound, BindError> {
        let Self { listen, admin_listen, limits, settings, rules, templates, certificate, metrics } =
            self;
        let handler = Routes {
            rules: rules.clone(),
            settings: settings.clone(),
            templates,
            metrics: Arc::clone(&metrics),
            limits: limits.clone(),
            large: Arc::new(Semaphore::new(LARGE_REVIEWS)),
        };
        Server {
            listen,
            admin_listen,
            limits,
            certificate: certificate.clone(),
            metrics: Arc::clone(&metrics.server),
            handler,
            admin: Box::new(ReplicaPages { rules, certificate, settings, metrics }),
        }
        .bind()
    }
}
