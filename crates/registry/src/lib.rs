//! The client of image registries (OCI distribution specification).
//!
//! A credential is sent only to the host that it is declared for, and never to a token service of
//! another host.
//!
//! - [`RegistryClient`] looks up manifests and the authentication that a registry requires.
//! - [`check`] tests the declared registry: name, certificate, API and credential.
//! - [`RegistryTrust`] is the transport of connections and the trust in certificates.

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
