//! Settings of a cluster, from the annotations of its object.

use serde_json::Value;

use super::ClusterSettings;
use crate::{
    fleet::bundle::{is_api_server, is_policy},
    labels::{API_SERVER, FLEET, PAUSED, POLICY, REMOVED},
};

/// Reads the annotations in `metadata`.
///
/// # Errors
/// Returns the reason for an invalid one, which is not quoted.
pub(super) fn read(metadata: &Value) -> Result<ClusterSettings, String> {
    let annotation = |key: &str| metadata["annotations"][key].as_str();
    let invalid = |key: &str, expected: &str| {
        Err(format!("annotation {key}: expected {expected}; correct or remove it"))
    };
    let mut settings = ClusterSettings::default();
    match annotation(FLEET) {
        None => {}
        Some(PAUSED) => settings.is_paused = true,
        Some(REMOVED) => settings.is_removed = true,
        Some(number) => match number.parse() {
            Ok(revision) if revision > 0 && number.starts_with(|c: char| c.is_ascii_digit()) => {
                settings.pinned_revision = Some(revision);
            }
            _ => return invalid(FLEET, "paused, removed or the number of a declaration"),
        },
    }
    if let Some(address) = annotation(API_SERVER) {
        if !is_api_server(address) {
            return invalid(API_SERVER, "HOST or HOST:PORT");
        }
        settings.api_server = Some(address.to_owned());
    }
    if let Some(policy) = annotation(POLICY) {
        if !is_policy(policy) {
            return invalid(POLICY, "fail, ignore or audit");
        }
        settings.policy = Some(policy.to_owned());
    }
    Ok(settings)
}
