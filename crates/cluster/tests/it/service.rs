//! The Service in front of the admission replicas, and its endpoints.

use std::net::{IpAddr, UdpSocket};

use serde_json::{Value, json};

use crate::stage::Stage;

const NAME: &str = "image-swap-admission";
const SERVICES: &str = "/api/v1/namespaces/image-swap-system/services";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/image-swap-system/endpointslices";
const ENDPOINTS: &str = "/api/v1/namespaces/image-swap-system/endpoints";

impl Stage {
    /// Makes `port` of this machine the only endpoint of the Service.
    pub(crate) fn serve_at(&self, port: u16) {
        self.serve_at_all(&[port]);
    }

    /// Makes `ports` of this machine the endpoints of the Service, which has no selector.
    ///
    /// The API server reads the `EndpointSlices`, and the controller reads the Endpoints.
    /// No Kubernetes controller copies `EndpointSlices` to Endpoints.
    pub(crate) fn serve_at_all(&self, ports: &[u16]) {
        if self.get(&format!("{SERVICES}/{NAME}")).is_none() {
            let service = json!({
                "apiVersion": "v1", "kind": "Service", "metadata": { "name": NAME },
                "spec": { "ports": [{ "name": "https", "port": 443 }] },
            });
            self.request("POST", SERVICES, Some(&service));
        }
        self.write_slices(ports);
        self.write_endpoints(ports);
    }

    /// Replaces the `EndpointSlices` of the Service: one for each port.
    fn write_slices(&self, ports: &[u16]) {
        let slice_name = |port: &u16| format!("{NAME}-{port}");
        let of_service = format!("{SLICES}?labelSelector=kubernetes.io/service-name={NAME}");
        let list = self.get(&of_service).unwrap();
        let name_of = |slice: &Value| slice["metadata"]["name"].as_str().unwrap().to_owned();
        let before: Vec<String> = list["items"].as_array().unwrap().iter().map(name_of).collect();
        let after: Vec<String> = ports.iter().map(slice_name).collect();
        for (name, port) in after.iter().zip(ports) {
            if before.contains(name) {
                continue;
            }
            let slice = json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": { "name": name, "labels": { "kubernetes.io/service-name": NAME } },
                "addressType": "IPv4",
                "endpoints": [{ "addresses": [address()], "conditions": { "ready": true } }],
                "ports": [{ "name": "https", "port": port }],
            });
            self.request("POST", SLICES, Some(&slice));
        }
        for name in before.iter().filter(|name| !after.contains(name)) {
            self.request("DELETE", &format!("{SLICES}/{name}"), None);
        }
    }

    /// Replaces the Endpoints of the Service.
    fn write_endpoints(&self, ports: &[u16]) {
        let subset = |port: &u16| {
            let ports = json!([{ "name": "https", "port": port }]);
            json!({ "addresses": [{ "ip": address() }], "ports": ports })
        };
        let endpoints = json!({
            "apiVersion": "v1", "kind": "Endpoints",
            // The controller manager would mirror them to one more EndpointSlice.
            "metadata": { "name": NAME, "labels": { "endpointslice.kubernetes.io/skip-mirror": "true" } },
            "subsets": ports.iter().map(subset).collect::<Vec<_>>(),
        });
        let path = format!("{ENDPOINTS}/{NAME}");
        if self.get(&path).is_some() {
            self.request("PUT", &path, Some(&endpoints));
        } else {
            self.request("POST", ENDPOINTS, Some(&endpoints));
        }
    }
}

/// Returns an address of this machine that an endpoint may have: not loopback.
pub(crate) fn address() -> IpAddr {
    // Nothing is sent: connecting a datagram socket only selects the local address.
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("192.0.2.1:9").unwrap();
    socket.local_addr().unwrap().ip()
}
