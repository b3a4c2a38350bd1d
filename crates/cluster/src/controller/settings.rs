//! Settings of the controller.

use std::{collections::BTreeMap, time::Duration};

use image_swap_core::control::policy::{LOWER_AFTER, RequestedPolicy};

use crate::release::Release;

/// What operators decide.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line that goes with any other"
)]
#[derive(Clone, Debug)]
pub struct Settings {
    /// The release.
    pub release: Release,
    /// The Secret with the chart's declaration, in the release's namespace.
    pub chart_secret: Option<String>,
    /// The Service before the admission replicas.
    pub service: String,
    /// Its port.
    pub service_port: u16,
    /// What becomes of ordinary pods that nobody could review.
    pub policy: RequestedPolicy,
    /// Seconds that the API server waits for an answer.
    pub timeout_seconds: u8,
    /// Namespaces whose pods are let through unreviewed, if need be.
    pub system_namespaces: Vec<String>,
    /// The label by which namespaces leave or join.
    pub namespace_label: String,
    /// Whether only namespaces labelled `enabled` take part.
    pub opt_in: bool,
    /// Whether swapped pods get a pull Secret.
    pub pull_secrets: bool,
    /// Whether the registrations of dead programs that swap images are removed.
    pub adopt: bool,
    /// Whether pods are changed although another program that swaps images lives.
    pub coexist: bool,
    /// A Secret with a certificate that somebody else keeps.
    pub tls_existing_secret: Option<String>,
    /// The labels with which the namespace of `registry-info` is created if it is absent.
    pub registry_info_labels: BTreeMap<String, String>,
}

/// The times between things that no watch starts, and other waits.
#[derive(Clone, Copy, Debug)]
pub struct Intervals {
    /// Between reconciliations without a change.
    pub look: Duration,
    /// Between the beginnings of two probes of an API server.
    pub probe: Duration,
    /// For which probes have to fail before `Fail` is lowered.
    pub lower: Duration,
    /// Between checks of the registry.
    pub registry: Duration,
    /// After a reconciliation with a step that failed; longer after more of them.
    pub retry: Duration,
    /// Between the beginnings of two reconciliations, at least.
    pub gap: Duration,
    /// For which a namespace keeps the pull Secret after its last swapped pod.
    pub linger: Duration,
    /// For which another program that swaps images has to be without an endpoint before
    /// it counts as dead.
    pub grace: Duration,
}

impl Default for Intervals {
    fn default() -> Self {
        Self {
            look: Duration::from_secs(15),
            probe: Duration::from_secs(10),
            lower: LOWER_AFTER,
            registry: Duration::from_mins(5),
            retry: Duration::from_secs(1),
            gap: Duration::from_millis(100),
            linger: Duration::from_mins(5),
            grace: Duration::from_mins(10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `--node-monitor-grace-period` is 50 s (40 s before Kubernetes 1.32), looked at
    /// every 5 s, by a controller manager that may have to be elected first: 15 s.
    #[test]
    fn fail_is_kept_for_longer_than_endpoints_name_replicas_of_a_lost_node() {
        let noticed = Duration::from_secs(50 + 5 + 15);
        assert!(Intervals::default().lower > noticed);
    }
}
