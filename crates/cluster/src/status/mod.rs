//! How a release is, as anybody who may read it sees it: the controller's own
//! report, what each replica says of itself, and what runs.
//!
//! Nothing is written, and nothing runs with more rights than the caller has.
//! Replicas are asked through the API server (`pods/proxy`), so that they need no
//! right to write anything down about themselves.

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

/// What the replicas are called in [`Status::unread`].
const REPLICAS: &str = "replicas";

/// The wait before a second look at a release whose replicas became ready just now.
const SECOND_LOOK: Duration = Duration::from_secs(3);

/// How a release is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// Which one.
    pub release: ReleaseRef,
    /// True if there is no problem.
    pub healthy: bool,
    /// What somebody has to do something about.
    pub problems: Vec<Problem>,
    /// What somebody may want to know.
    pub notes: Vec<String>,
    /// What could not be read, and why.
    pub unreadable: Vec<String>,
    /// Which controller leads; none if nobody ever did.
    pub leader: Option<Leader>,
    /// True if a webhook configuration with entries is there now; `None` if it may not be
    /// read.
    pub registered: Option<bool>,
    /// True if the release is marked as leaving, or its anchor is gone or being deleted.
    pub leaving: bool,
    /// What it sees; none if it has not yet said.
    pub report: Option<ControllerReport>,
    /// The admission replicas.
    pub replicas: Option<Replicas>,
    /// The release's own pods that cannot start, and Deployments that cannot create any.
    pub stuck: Vec<StuckPod>,
    /// Swapped pods that cannot start because of a swapped image; `None` if they may not be
    /// read.
    pub unpulled: Option<StuckPods>,
    /// Running pods by the registry that their images were written for.
    pub pods: Option<Vec<Registry>>,
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
pub struct Registry {
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
/// caller may not read is in [`Status::unread`].
pub async fn status(client: &Client, release: &Release) -> Result<Status, Error> {
    let mut status = gather::all(client, release).await?;
    if problems::is_early(&status) {
        sleep(SECOND_LOOK).await;
        status = gather::all(client, release).await?;
    }
    problems::find(&mut status);
    Ok(status)
}
