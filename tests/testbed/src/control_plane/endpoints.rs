//! Endpoints of Services without a selector.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::ControlPlane;
use crate::error::Error;

impl ControlPlane {
    /// Makes `service` lead to `servers`, in place of all servers before. Its port is
    /// called `port`.
    ///
    /// Writes an `EndpointSlice` for each server, and the same as Endpoints: until 1.33
    /// the API server resolves Services by Endpoints.
    ///
    /// # Errors
    /// The API server refused an object. It refuses loopback addresses.
    pub fn set_endpoints(
        &self,
        namespace: &str,
        service: &str,
        port: &str,
        servers: &[SocketAddr],
    ) -> Result<(), Error> {
        let slices = format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices");
        let label = format!("kubernetes.io%2Fservice-name={service}");
        let old = format!("{slices}?labelSelector={label}");
        let old = self.get(&old)?.unwrap_or_default();
        for server in servers {
            let name = slice_name(service, *server);
            let slice = json!({
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "name": name,
                    "labels": { "kubernetes.io/service-name": service },
                },
                "addressType": "IPv4",
                "endpoints": [{ "addresses": [server.ip()], "conditions": { "ready": true } }],
                "ports": [{ "name": port, "port": server.port(), "protocol": "TCP" }],
            });
            if self.get(&format!("{slices}/{name}"))?.is_none() {
                self.create(&slices, &slice)?;
            }
        }
        let name_of = |slice: &Value| slice["metadata"]["name"].as_str().map(str::to_owned);
        let present = old["items"].as_array().into_iter().flatten().filter_map(name_of);
        let wanted: Vec<_> = servers.iter().map(|server| slice_name(service, *server)).collect();
        for name in present.filter(|name| !wanted.contains(name)) {
            self.request("DELETE", &format!("{slices}/{name}"), None)?;
        }
        self.set_old_endpoints(namespace, service, &old_endpoints(service, port, servers))
    }

    fn set_old_endpoints(
        &self,
        namespace: &str,
        service: &str,
        endpoints: &Value,
    ) -> Result<(), Error> {
        let all = format!("/api/v1/namespaces/{namespace}/endpoints");
        let one = format!("{all}/{service}");
        let answer = self.request("PUT", &one, Some(endpoints))?;
        match answer.status {
            200 | 201 => Ok(()),
            404 => self.create(&all, endpoints).map(drop),
            _ => answer.expect(200, &format!("PUT {one}")).map(drop),
        }
    }
}

/// Returns the Endpoints of a Service, which the controllers do not mirror into slices.
fn old_endpoints(service: &str, port: &str, servers: &[SocketAddr]) -> Value {
    let subset = |server: &SocketAddr| {
        json!({
            "addresses": [{ "ip": server.ip() }],
            "ports": [{ "name": port, "port": server.port() }],
        })
    };
    json!({
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": service,
            "labels": { "endpointslice.kubernetes.io/skip-mirror": "true" },
        },
        "subsets": servers.iter().map(subset).collect::<Vec<_>>(),
    })
}

/// Returns a name for the slice of one server.
fn slice_name(service: &str, server: SocketAddr) -> String {
    let server = server.to_string().replace(['.', ':'], "-");
    format!("{service}-{server}")
}
