//! Requests to other clusters.
//!
//! Another cluster may be slow, broken or hostile. Every request has a deadline, every response a
//! limit, and no error quotes a response.

pub mod bounded;
pub mod client;
mod connection;
pub mod error;
pub mod limits;
mod meter;
mod request;
mod service;
pub mod token;
pub mod watch;
pub mod watched;

pub use self::{
    client::{RefusedRequest, RemoteClient},
    error::RemoteError,
    limits::RemoteLimits,
    request::RemoteRequest,
    token::IssuedToken,
    watch::{MetadataWatch, WatchedMetadata},
    watched::WatchedObject,
};
