//! The status of a release: the controller's report, the status of each replica, and the
//! running pods.
//!
//! `status` reads with the rights of its caller, and writes nothing. It reads the status of
//! a replica through the API server (`pods/proxy`).

mod gather;
mod problems;
mod stuck;
mod workloads;

use std::time::Duration;

use image_swap_core::{
    declaration::UnixTime,
    status::{ControllerReport, ReplicaStatus},
};
use kube::Client;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

pub use self::{
    gather::find,
    stuck::{StuckPod, StuckPods},
};
use crate::{error::Error, release::Release};

/// Name of the replicas in [`ReleaseStatus::unreadable`].
const REPLICAS: &str = "replicas";

/// The wait before a second look at a release whose replicas became ready just now.
const SECOND_LOOK: Duration = Duration::from_secs(3);

/// Status of a release.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReleaseStatus {
    /// The release.
    pub release: ReleaseRef,
    /// True if there is no problem.
    pub healthy: bool,
    /// Problems that an administrator has to solve.
    pub problems: Vec<Problem>,
    /// Notes that need no action.
    pub notes: Vec<String>,
    /// Objects that could not be read, each with the reason.
    pub unreadable: Vec<String>,
    /// Leader election; `None` if no controller ever led.
    pub leader: Option<Leader>,
    /// True if a webhook configuration with entries is there now; `None` if it may not be
    /// read.
    pub registered: Option<bool>,
    /// True if the release is marked as leaving, or its anchor is gone or being deleted.
    pub leaving: bool,
    /// Report of the controller; `None` before the first.
    pub report: Option<ControllerReport>,
    /// The admission replicas.
    pub replicas: Option<Replicas>,
    /// The release's own pods that cannot start, and Deployments that cannot create any.
    pub stuck: Vec<StuckPod>,
    /// Swapped pods that cannot start because of a swapped image; `None` if they may not be
    /// read.
    pub unpulled: Option<StuckPods>,
    /// Running pods by the registry that their images were written for.
    pub pods: Option<Vec<RegistryPods>>,
    /// The nodes; `None` if they need no configuration, or may not be read.
    pub nodes: Option<Nodes>,
    /// The time of this status, in seconds since 1970, by the reader's clock.
    pub read: UnixTime,
}

impl ReleaseStatus {
    /// Returns true if `other` differs only in the times of checks and renewals, and in the number
    /// of failed probes.
    pub fn is_like(&self, other: &Self) -> bool {
        self.without_times() == other.without_times()
    }

    fn without_times(&self) -> Self {
        let mut status = Self { read: 0, ..self.clone() };
        if let Some(leader) = &mut status.leader {
            leader.renewed = 0;
        }
        if let Some(report) = &mut status.report {
            report.policy.failures = 0;
            if let Some(registry) = &mut report.registry {
                registry.checked = 0;
            }
        }
        status
    }
}

/// A release by its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReleaseRef {
    /// The namespace.
    pub namespace: String,
    /// The full name.
    pub name: String,
}

/// A problem and its stable name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// The stable name.
    pub code: String,
    /// The description, with the remedy if there is one.
    pub message: String,
}

/// The controller that leads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Leader {
    /// The identity of the controller; empty without a leader.
    pub holder: String,
    /// The last renewal of the Lease, in seconds since 1970, by the leader's clock.
    pub renewed: UnixTime,
    /// The duration of the Lease, in seconds.
    pub lasts: UnixTime,
}

/// The admission replicas.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Replicas {
    /// The requested number.
    pub wanted: u64,
    /// The number of ready replicas.
    pub ready: u64,
    /// The replicas that exist.
    pub pods: Vec<Replica>,
}

/// An admission replica.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Replica {
    /// The name of the pod.
    pub name: String,
    /// The node of the pod; empty before it is scheduled.
    pub node: String,
    /// True if the pod is ready.
    pub ready: bool,
    /// The replica's own status; `None` if it cannot be queried.
    pub answer: Option<ReplicaStatus>,
    /// The reason why the replica cannot be queried.
    pub error: Option<String>,
}

/// Running pods with images of a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegistryPods {
    /// The host of the registry.
    pub registry: String,
    /// Pods with only swapped images of the registry.
    pub swapped: usize,
    /// Pods with an image that was not swapped.
    pub unswapped: usize,
    /// Pods of [`Self::unswapped`] that would be swapped if they were created again.
    pub outdated: usize,
}

/// The cluster's nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Nodes {
    /// The number of nodes.
    pub all: usize,
    /// The number of nodes that are marked as configured.
    pub configured: usize,
}

/// Reads the status of `release`.
///
/// # Errors
/// The release does not exist, or the API server cannot be reached. Objects that the
/// caller may not read are in [`ReleaseStatus::unreadable`].
pub async fn status(client: &Client, release: &Release) -> Result<ReleaseStatus, Error> {
    let mut status = gather::all(client, release).await?;
    if problems::is_early(&status) {
        sleep(SECOND_LOOK).await;
        status = gather::all(client, release).await?;
    }
    problems::find(&mut status);
    Ok(status)
}

#[cfg(test)]
mod tests {
    use image_swap_core::status::RegistryStatus;

    use super::*;

    #[test]
    fn times_are_no_difference() {
        let status = |time: UnixTime, domain: &str| {
            let mut report = ControllerReport::default();
            report.policy.failures = 1 + u32::try_from(time).unwrap();
            let domain = domain.to_owned();
            report.registry =
                Some(RegistryStatus { domain, checked: time, ..RegistryStatus::default() });
            ReleaseStatus {
                leader: Some(Leader { holder: "one".into(), renewed: time, lasts: 15 }),
                report: Some(report),
                read: time,
                ..ReleaseStatus::default()
            }
        };
        assert!(status(1, "h.io").is_like(&status(2, "h.io")));
        assert!(!status(1, "h.io").is_like(&status(1, "g.io")));
        let unhealthy = ReleaseStatus { healthy: true, ..status(1, "h.io") };
        assert!(!unhealthy.is_like(&status(1, "h.io")));
    }
}
