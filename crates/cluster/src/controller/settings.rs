//! Settings of the controller.

use std::{collections::BTreeMap, time::Duration};

use image_swap_core::control::policy::{LOWER_AFTER, RequestedPolicy};

use crate::{nodes::AgentSettings, release::Release};

/// Settings of the controller, from the chart's values.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line that goes with any other"
)]
#[derive(Clone, Debug)]
pub struct Settings {
    /// The release.
    pub release: Release,
    /// Secret with the chart's declaration, in the release's namespace; `None` without one.
    pub chart_secret: Option<String>,
    /// Service of the admission replicas.
    pub service: String,
    /// Port of the Service.
    pub service_port: u16,
    /// Requested policy for ordinary pods that no replica could review.
    pub policy: RequestedPolicy,
    /// Time that the API server waits for a response, in seconds.
    pub timeout_seconds: u8,
    /// Namespaces whose pods are created even if no replica reviews them.
    pub system_namespaces: Vec<String>,
    /// Label by which namespaces opt in or out.
    pub namespace_label: String,
    /// True if only namespaces labelled `enabled` take part.
    pub opt_in: bool,
    /// Namespaces whose new machine templates get the bootstrap script; empty without them.
    pub template_namespaces: Vec<String>,
    /// True if swapped pods get a pull Secret.
    pub pull_secrets: bool,
    /// True if the controller deletes the registrations of dead programs that swap images.
    pub adopt: bool,
    /// True if replicas change pods beside another live program that swaps images.
    pub coexist: bool,
    /// Secret with a certificate of another issuer; `None` if the controller issues it.
    pub tls_existing_secret: Option<String>,
    /// Labels of the namespace of `registry-info`, if the controller creates it.
    pub registry_info_labels: BTreeMap<String, String>,
    /// Agents of nodes; `None` if the release has none.
    pub agents: Option<AgentSettings>,
    /// True if the leader renews the Lease that the fleet controller of a management cluster
    /// watches.
    pub heartbeat: bool,
    /// Secret with the access to a management cluster, in the release's namespace; `None` unless the
    /// release pulls its declaration.
    pub hub_secret: Option<String>,
    /// Hash of the bundle with this controller; `None` unless a fleet controller applied it.
    pub bundle_hash: Option<String>,
}

/// Intervals of actions that no watch starts, and other waits.
#[derive(Clone, Copy, Debug)]
pub struct Intervals {
    /// Interval between reconciliations without a change.
    pub look: Duration,
    /// Interval between the beginnings of two probes of an API server.
    pub probe: Duration,
    /// Time for which probes have to fail before the policy `Fail` is lowered.
    pub lower: Duration,
    /// Interval between checks of the registry.
    pub registry: Duration,
    /// Wait after a reconciliation with a failed step; it grows with the failures in a row.
    pub retry: Duration,
    /// Shortest interval between the beginnings of two reconciliations.
    pub gap: Duration,
    /// Time for which a namespace keeps the pull Secret after its last swapped pod. A deleted
    /// Secret of nodes stays away for the same time, at most ten seconds.
    pub linger: Duration,
    /// Time without an endpoint after which another program that swaps images counts as dead.
    pub grace: Duration,
    /// Interval between renewals of the heartbeat.
    pub heartbeat: Duration,
    /// Shortest interval between two heartbeats.
    pub heartbeat_gap: Duration,
    /// Interval between counts of pods for the heartbeat.
    pub census: Duration,
    /// Interval between heartbeats on a management cluster, and between comparisons with its
    /// declaration.
    pub hub: Duration,
    /// First and longest wait after a failed request to a management cluster.
    pub hub_retry: (Duration, Duration),
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
            heartbeat: Duration::from_mins(1),
            heartbeat_gap: Duration::from_secs(5),
            census: Duration::from_mins(5),
            hub: Duration::from_mins(5),
            hub_retry: (Duration::from_secs(1), Duration::from_mins(5)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asserts that `Fail` is lowered only after Kubernetes has noticed a lost node.
    /// `--node-monitor-grace-period` is 50 s (40 s before Kubernetes 1.32), and is checked every 5
    /// s. The controller manager may have to be elected first, which takes 15 s.
    #[test]
    fn fail_outlasts_the_endpoints_of_lost_nodes() {
        let noticed = Duration::from_secs(50 + 5 + 15);
        assert!(Intervals::default().lower > noticed);
    }
}
