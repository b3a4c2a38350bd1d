//! Machines of the real Cluster API, which are born with the mirrors. The machines exist in memory
//! alone; their bootstrap data are real.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops at the first surprise; clippy knows test functions, not the helpers beside them"
)]

mod born;
mod compared;
mod fleet;
mod kept;
mod management;
mod moved;
mod release;
mod resource_set;
mod webhook;
