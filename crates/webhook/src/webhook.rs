//! The server of the webhook: its handler and its admin pages.

use std::{net::SocketAddr, sync::Arc};

use image_swap_serve::{BindError, Bound, Limits, Server, pki::CertificateInForce};
use tokio::sync::Semaphore;

use crate::{
    admin::ReplicaPages, metrics::AdmissionMetrics, routes::Routes, rules::RulesInForce,
    settings::SettingsInForce,
};

/// Large bodies that are reviewed at the same time.
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
    /// The settings of reviews.
    pub settings: SettingsInForce,
    /// The rules of reviews. Without any the webhook runs, but is not ready.
    pub rules: RulesInForce,
    /// The serving certificate. Without one the webhook runs, but is not ready.
    pub certificate: CertificateInForce,
    /// The counters of the webhook.
    pub metrics: Arc<AdmissionMetrics>,
}

impl Webhook {
    /// Binds both ports, on the runtime this is called from. Nothing is accepted yet.
    ///
    /// # Errors
    /// If either port cannot be bound; the other is free again then.
    pub fn bind(self) -> Result<Bound, BindError> {
        let Self { listen, admin_listen, limits, settings, rules, certificate, metrics } = self;
        let handler = Routes {
            rules: rules.clone(),
            settings: settings.clone(),
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
