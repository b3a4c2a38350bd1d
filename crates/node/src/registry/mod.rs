//! A registry, asked from here: how it wants to be authenticated to, and what
//! it has.
//!
//! Credentials go to the host they were declared for, and nowhere else: not to a
//! token service at another host, and not over plain HTTP unless that is allowed.

mod client;
mod connection;
mod error;

pub use self::{
    client::{Client, Place, Schemes, Serves},
    error::Error,
};
