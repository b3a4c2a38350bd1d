//! Decisions of the controller: the desired state of a cluster, and the next step towards it.
//!
//! Every decision is a function of observed objects and of a time that the caller passes,
//! without requests to a cluster. Each file has one concern.

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
pub mod restoration;
pub mod rollout;
pub mod startup_taint;
pub mod trust;
pub mod webhooks;
