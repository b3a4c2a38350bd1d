//! Services whose endpoint is a port of this machine.

use image_swap_load::Outcome;
use image_swap_testbed::{ControlPlane, own_address};
use serde_json::json;

/// The port of every Service.
pub(crate) const PORT: u16 = 443;

/// Creates the Service `name`, which leads to `port` of this machine.
///
/// The Service has no selector, so no controller touches its endpoints.
pub(crate) fn create(
    control_plane: &ControlPlane,
    namespace: &str,
    name: &str,
    port: u16,
) -> Outcome<()> {
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": name },
        "spec": { "ports": [{ "name": "https", "port": PORT }] },
    });
    control_plane.create(&format!("/api/v1/namespaces/{namespace}/services"), &service)?;
    control_plane.set_endpoints(namespace, name, "https", &[(own_address()?, port).into()])?;
    Ok(())
}
