//! The pure core of image-swap: references, rules, pods, mirrors and the decisions of the
//! controller. It contains no I/O, no clock and no async runtime.

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
