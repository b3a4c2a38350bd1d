//! Machines of Cluster API that are born with image-swap, by the real controllers.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise; clippy knows test functions, not the helpers beside them"
)]

mod born;
mod machine_cluster;
mod restore;
