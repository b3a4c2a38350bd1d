//! What a cluster should look like, and the next step towards it.
//!
//! Everything here is decided from what was observed and from a time that the
//! caller gives; nothing here talks to a cluster. Each file has one concern.

pub mod certificates;
pub mod competitors;
pub mod effective;
pub mod node_gate;
pub mod node_runtime;
pub mod pods;
pub mod policy;
pub mod pull_secrets;
pub mod rate_limit;
pub mod recreated;
pub mod rollout;
pub mod trust;
pub mod webhooks;
