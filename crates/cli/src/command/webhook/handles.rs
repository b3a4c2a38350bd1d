//! The rules, the certificate and the settings that the server answers by.

use std::sync::Arc;

use image_swap_serve::pki::CertificateInForce;
use image_swap_webhook::{AdmissionMetrics, RulesInForce, SettingsInForce};

use crate::failure::Failure;

/// The handles that the server reads.
pub(super) struct WebhookHandles {
    pub(super) rules: RulesInForce,
    pub(super) certificate: CertificateInForce,
    pub(super) settings: SettingsInForce,
    pub(super) metrics: Arc<AdmissionMetrics>,
}

/// Returns the failure of a system call.
pub(super) fn broken(expected: &str, error: &std::io::Error) -> Failure {
    Failure::Broken(format!("expected {expected}, found: {error}"))
}
