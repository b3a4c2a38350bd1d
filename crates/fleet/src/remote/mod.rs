//! Requests to workload clusters.
//!
//! A workload cluster may be slow, broken or hostile. Every request has a deadline, every response
//! a limit, and no error quotes a response.

mod apply;
mod client;
mod credential;
mod facts;
mod objects;
mod remove;

use image_swap_cluster::remote::{error, limits};

pub use self::{
    apply::{ApplyReport, ContestedObject, ObjectFailure, RepairedObject},
    client::RemoteCluster,
    credential::FleetToken,
    error::RemoteError,
    facts::RemoteFacts,
    limits::RemoteLimits,
    remove::{KeptObject, Removal, RemovalReport},
};
