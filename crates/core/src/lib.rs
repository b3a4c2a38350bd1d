//! The pure core: what a reference is, what the rules say, what a pod becomes
//! and what a node is told. No I/O, no clock, no runtime.

pub mod admission;
pub mod json;
pub mod patch;
pub mod reference;
pub mod rule;
pub mod yaml;
