//! The Service in front of the admission replicas, and its endpoints.

use std::net::{IpAddr, SocketAddr};

use image_swap_testbed::own_address;
use serde_json::json;
use tokio::task::block_in_place;

use crate::test_cluster::{NAMESPACE, TestCluster};

const NAME: &str = "image-swap-admission";
const SERVICES: &str = "/api/v1/namespaces/image-swap-system/services";

impl TestCluster {
    /// Makes `port` of this machine the only endpoint of the Service.
    pub(crate) fn serve_at(&self, port: u16) {
        self.serve_at_all(&[port]);
    }

    /// Makes the Service, without any endpoint.
    pub(crate) fn make_service(&self) {
        if self.get(&format!("{SERVICES}/{NAME}")).is_none() {
            let service = json!({
                "apiVersion": "v1", "kind": "Service", "metadata": { "name": NAME },
                "spec": { "ports": [{ "name": "https", "port": 443 }] },
            });
            self.request("POST", SERVICES, Some(&service));
        }
    }

    /// Makes `ports` of this machine the endpoints of the Service, which has no selector.
    pub(crate) fn serve_at_all(&self, ports: &[u16]) {
        self.make_service();
        let servers: Vec<SocketAddr> = ports.iter().map(|port| (address(), *port).into()).collect();
        let set = || self.control_plane.set_endpoints(NAMESPACE, NAME, "https", &servers);
        block_in_place(set).unwrap();
    }
}

/// Returns an address of this machine that an endpoint may have.
pub(crate) fn address() -> IpAddr {
    own_address().unwrap()
}
