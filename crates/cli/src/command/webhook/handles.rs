//! The rules, certificate and settings in force.

use std::sync::Arc;

use image_swap_serve::pki::CertificateInForce;
use image_swap_webhook::{AdmissionMetrics, RulesInForce, SettingsInForce, TemplateNamespaces};

use crate::failure::{Failure, reason};

/// The handles that the server reads.
pub(super) struct WebhookHandles {
    pub(super) rules: RulesInForce,
    pub(super) certificate: CertificateInForce,
    pub(super) settings: SettingsInForce,
    pub(super) templates: TemplateNamespaces,
    pub(super) metrics: Arc<AdmissionMetrics>,
}

/// Returns the failure of `action`, a system call.
pub(super) fn broken(action: &str, error: &std::io::Error) -> Failure {
    Failure::Broken(format!("cannot {action}: {}", reason(error)))
}
