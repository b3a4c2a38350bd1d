//! The command line of a controller.

use super::ClusterApi;
use crate::{
    control_plane::{ControlPlane, Server},
    http::Client,
    process::Process,
};

impl ClusterApi {
    /// Describes the controller `name`, with the ports of its webhook, its health and its metrics.
    pub(super) fn manager(
        &self,
        plane: &ControlPlane,
        name: &str,
        [webhook, health, metrics]: [u16; 3],
    ) -> Server {
        let log = self.dir.path().join(format!("{name}.log"));
        let process = Process::new(name, self.parts.program(name), log)
            .arguments([
                format!("--webhook-port={webhook}"),
                format!("--webhook-cert-dir={}", self.dir.path().join("webhook").display()),
                format!("--health-addr=127.0.0.1:{health}"),
                format!("--diagnostics-address=127.0.0.1:{metrics}"),
                "--insecure-diagnostics=true".to_owned(),
                "--feature-gates=ClusterTopology=true".to_owned(),
            ])
            .variable("KUBECONFIG", plane.kubeconfig())
            // The address of simulated API servers.
            .variable("POD_IP", self.address.to_string())
            .variable("POD_NAMESPACE", "cluster-api")
            .variable("POD_NAME", name)
            .variable("POD_UID", name);
        let ready = format!("http://127.0.0.1:{health}/readyz");
        Server { process, ready, client: Client::default() }
    }
}
