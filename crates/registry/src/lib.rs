//! The client of image registries.
//!
//! A credential is sent to the host that it is declared for, and to no other host: not to a token
//! service of another host.

mod address;
mod challenge;
mod client;
mod connection;
mod error;
mod health;
mod trust;

pub use self::{
    client::{AuthScheme, Lookup, RegistryClient, Serves, basic_authorization},
    error::Error,
    health::{RegistryHealth, check},
    trust::{RegistryTrust, TlsTrust},
};
