//! Requests to workload clusters.
//!
//! A workload cluster may be slow, broken or hostile. Every request has a deadline, every response
//! a limit, and no error quotes a response.

mod added;
mod apply;
mod client;
mod credential;
mod facts;
mod leftovers;
mod objects;
mod prune;
mod record;
mod removal_report;
mod remove;

use image_swap_cluster::remote::{error, limits};

pub use self::{
    apply::{ApplyReport, ContestedObject, ObjectFailure, RepairedObject},
    client::RemoteCluster,
    credential::{FleetToken, TokenError},
    error::RemoteError,
    facts::RemoteFacts,
    limits::RemoteLimits,
    removal_report::{KeptObject, Removal, RemovalReport},
};
