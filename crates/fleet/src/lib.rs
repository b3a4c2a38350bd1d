//! The fleet: one declaration of a management cluster, in force on every workload cluster.
//!
//! `image_swap_core::fleet` decides from plain data. This crate reads the inventory from the
//! management cluster, and reads and writes the workload clusters.

mod controller;
mod enrolment;
mod events;
mod heartbeat;
mod metrics;
mod names;
mod objects;
mod overview;
mod references;
pub mod remote;
pub mod sources;

pub use self::{
    controller::{FleetController, FleetSettings, FleetTiming},
    enrolment::{EnrolledCluster, EnrolmentError, EnrolmentRequest, RevokedObject, enroll, revoke},
    events::FleetEvents,
    heartbeat::{HeartbeatState, PULL_STALE_AFTER, STALE_AFTER, follow, follow_remote},
    metrics::{FleetMetrics, FleetReport},
    objects::{WorkloadClusters, resource},
    overview::{ClusterRow, FleetOverview, FleetScope, overview, unix_time},
    references::{note_references, references},
};
