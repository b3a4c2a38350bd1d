//! Tests of the controller on a real API server.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise; clippy knows test functions, not the helpers beside them"
)]

mod access;
mod adoption;
mod agent;
mod api_servers;
mod apply;
mod conditions;
mod credentials;
mod declaration;
mod documented;
mod faults;
mod first_contact;
mod fleet_status;
mod heartbeat;
mod install;
mod leadership;
mod namespace;
mod node_restarts;
mod nodes;
mod pull;
mod pull_secrets;
mod recreated;
mod registration;
mod registry;
mod removal;
mod replica;
mod restore;
mod service;
mod status;
mod steps;
mod stream;
mod taints;
mod templates;
mod test_cluster;
