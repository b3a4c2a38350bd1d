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
    /// Nodes, where they have to be told something.
    pub nodes: Option<Nodes>,
    /// When this was read, seconds since 1970, by the reader's clock.
    pub read: UnixTime,
}

/// A release by its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReleaseRef {
    /// Its namespace.
    pub namespace: String,
    /// Its full name.
    pub name: String,
}

/// A problem and its stable name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// Its stable name.
    pub code: String,
    /// What was expected, and what was found.
    pub message: String,
}

/// The controller that leads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Leader {
    /// How it is called; empty: nobody leads.
    pub holder: String,
    /// When it last said so, seconds since 1970, by its clock.
    pub renewed: UnixTime,
    /// For how many seconds that counts.
    pub lasts: UnixTime,
}

/// The admission replicas.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Replicas {
    /// How many there should be.
    pub wanted: u64,
    /// How many are ready.
    pub ready: u64,
    /// Each of them.
    pub pods: Vec<Replica>,
}

/// An admission replica.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Replica {
    /// Its pod.
    pub name: String,
    /// Its node.
    pub node: String,
    /// Whether the API server sends it reviews.
    pub ready: bool,
    /// What it says of itself.
    pub answer: Option<ReplicaStatus>,
    /// Why it says nothing.
    pub error: Option<String>,
}

/// Running pods with images of a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegistryPods {
    /// Which one.
    pub registry: String,
    /// All of those images were swapped.
    pub swapped: usize,
    /// Some were not.
    pub unswapped: usize,
    /// Of those, the ones that would be swapped if they were made anew.
    pub outdated: usize,
}

/// The cluster's nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Nodes {
    /// How many there are.
    pub all: usize,
    /// How many are known to have been told what they need.
    pub configured: usize,
}

/// Reads how `release` is.
///
/// # Errors
/// If there is no such release, or the API server cannot be reached. What the
/// caller may not read is in [`ReleaseStatus::unreadable`].
pub async fn status(client: &Client, release: &Release) -> Result<ReleaseStatus, Error> {
    let mut status = gather::all(client, release).await?;
    if problems::is_early(&status) {
        sleep(SECOND_LOOK).await;
        status = gather::all(client, release).await?;
    }
    problems::find(&mut status);
    Ok(status)
}
