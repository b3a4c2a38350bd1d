//! The pure core: what a reference is, what the rules say, what a pod becomes
//! and what a node is told. No I/O, no clock, no runtime.

pub mod admission;
pub mod control;
pub mod declaration;
pub mod diagnostic;
pub mod labels;
pub mod lint;
pub mod manifest;
pub mod mirror;
pub mod pull_secret;
pub mod reference;
pub mod render;
pub mod rule;
pub mod status;
pub mod workload;
