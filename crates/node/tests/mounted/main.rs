//! Hosts of which only directories are mounted, as an agent sees them.

#![allow(clippy::unwrap_used, reason = "clippy knows test functions, not the helpers beside them")]

mod apply;
mod host;
mod mounts;
mod restore;
mod start;
