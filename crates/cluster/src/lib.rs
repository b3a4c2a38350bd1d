//! Inside a cluster: the controller, what admission replicas follow, `status`
//! and `leave`.
//!
//! What to do is planned in `image_swap_core::cluster`, which sees plain data
//! and a time. Here is what reads and writes the cluster, and as little else as
//! possible.

mod api;
mod client;
mod clock;
mod controller;
mod endpoints;
mod error;
mod events;
mod follow;
mod health;
mod lease;
mod leave;
mod metrics;
mod outline;
mod pki;
mod pull_secrets;
mod recreated;
mod release;
mod report;
mod secret;
mod source;
pub mod status;

pub use self::client::{client, client_in, config, connect, in_cluster};
pub use self::controller::{Controller, Intervals, ReadinessLimits, Settings};
pub use self::error::Error;
pub use self::lease::{Election, Leadership, Times};
pub use self::leave::leave;
pub use self::metrics::ControllerMetrics;
pub use self::release::Release;
pub use self::source::{Following, InForce, Served, follow};
