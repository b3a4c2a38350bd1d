//! Services whose endpoint is a port of this machine.

use std::net::{IpAddr, UdpSocket};

use image_swap_testbed::ControlPlane;
use serde_json::json;

use crate::Outcome;

/// The port of every Service.
pub(crate) const PORT: u16 = 443;

/// Creates the Service `name` and an `EndpointSlice` that leads to `port` of this machine.
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
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": { "name": name, "labels": { "kubernetes.io/service-name": name } },
        "addressType": "IPv4",
        "endpoints": [{ "addresses": [address()?], "conditions": { "ready": true } }],
        "ports": [{ "name": "https", "port": port, "protocol": "TCP" }],
    });
    control_plane.create(&format!("/api/v1/namespaces/{namespace}/services"), &service)?;
    let slices = format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices");
    control_plane.create(&slices, &slice)?;
    Ok(())
}

/// Returns an address of this machine that endpoints may have: no loopback address.
pub(crate) fn address() -> Outcome<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    // This sends nothing. The kernel chooses the address of the default route.
    socket.connect("192.0.2.1:9")?;
    Ok(socket.local_addr()?.ip())
}
