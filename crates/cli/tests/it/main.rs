//! The binary as people and programs use it.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod agent;
mod attacks;
mod bundle;
mod check;
mod cluster_api;
mod convert;
mod credentials;
mod documents;
mod explain;
mod fleet;
mod guides;
mod helm;
mod krm;
mod kubectl;
mod render;
mod restart;
mod rewrite;
mod run;
mod usage;
mod webhook;
