//! The chart `image-swap`, rendered by Helm 4 and, in part, by Helm 3.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise; clippy knows test functions, not the helpers beside them"
)]

mod agent;
mod bundle;
mod chart;
mod declaration;
mod fleet;
mod gitops;
mod image;
mod monitoring;
mod names;
mod namespace;
mod network;
mod node_mirror;
mod package;
mod pods;
mod rbac;
mod readme;
mod reasons;
mod refused;
mod restart;
mod server;
mod values;
mod versions;
mod workload_cluster;
mod yaml;
