//! Inside a cluster: the controller, what admission replicas follow, `status`
//! and `deregister`.
//!
//! `image_swap_core::control` plans each change from plain data and a time. This crate reads
//! and writes the cluster. The fleet controller shares the requests, the watches and the Lease.

pub mod api;
mod backoff;
mod client;
pub mod clock;
mod controller;
mod deregister;
mod endpoints;
pub mod error;
mod events;
mod health;
mod heartbeat;
mod helm_mark;
mod hub;
mod lease;
mod metrics;
mod nodes;
pub mod object_watch;
mod partial_meta;
mod pki;
mod pod_census;
mod presence;
mod pull_secrets;
mod recreated;
mod release;
pub mod remote;
mod replica;
mod report;
pub mod secret;
pub mod status;

pub use kube::{Client, Config};

pub use self::backoff::AttemptBackoff;
pub use self::client::{client, client_in, config, config_in, connect, in_cluster};
pub use self::controller::{Controller, Intervals, ReadinessLimits, Settings};
pub use self::deregister::{deregister, deregister_by_pages};
pub use self::error::Error;
pub use self::lease::{LeaderElection, Leadership, LeaseTiming};
pub use self::metrics::ControllerMetrics;
pub use self::nodes::{
    AgentSettings, NodeRestartSettings, PendingNode, RestoreSummary, RestoreWait,
};
pub use self::presence::follow_presence;
pub use self::release::Release;
pub use self::replica::{ReplicaSink, ReplicaState, ReplicaTasks, follow};
