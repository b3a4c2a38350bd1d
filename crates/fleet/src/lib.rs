//! The fleet: one declaration of a management cluster, in force on every workload cluster.
//!
//! `image_swap_core::fleet` decides from plain data. This crate reads the inventory from the
//! management cluster, and reads and writes the workload clusters.

mod heartbeat;
mod objects;
mod remote;
pub mod sources;
