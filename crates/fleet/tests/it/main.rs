//! Tests of the fleet controller on real API servers.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise; clippy knows test functions, not the helpers beside them"
)]

mod bootstrap;
mod bundles;
mod controller;
mod expiry;
mod fake;
mod faults;
mod fleet;
mod gate;
mod heartbeats;
mod hub;
mod identity;
mod prune;
mod remote;
mod removal;
mod repairs;
mod rollout;
mod simulator;
mod sources;
mod steps;
mod tenants;
mod workload;
