//! Plans, on hosts in memory.

#![allow(clippy::unwrap_used, reason = "clippy knows test functions, not the helpers beside them")]

mod cases;
mod certs_d;
mod host;
mod mirrors;
mod other_runtimes;
mod other_tools;
