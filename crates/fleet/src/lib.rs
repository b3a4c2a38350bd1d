//! The fleet: one declaration of a management cluster, in force on every workload cluster.
//!
//! `image_swap_core::fleet` decides from plain data. This crate reads the inventory from the
//! management cluster, and reads and writes the workload clusters.

mod controller;
mod heartbeat;
mod metrics;
mod names;
mod objects;
mod remote;
pub mod sources;

pub use self::controller::{FleetController, FleetSettings, FleetTiming};
pub use self::metrics::{FleetMetrics, FleetReport};
pub use self::remote::RemoteLimits;
pub use self::sources::SourceSettings;
