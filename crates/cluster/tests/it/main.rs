//! The controller on a real API server. Where there is none, CI fails and any
//! other machine is told what was skipped.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod declaration;
mod leadership;
mod pull_secrets;
mod registration;
mod replica;
mod stage;
