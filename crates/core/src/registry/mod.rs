//! What whoever talks to a registry has to read: where it listens, and how it wants
//! to be authenticated to.

mod address;
mod challenge;

pub use self::{address::host_and_port, challenge::Challenge};
