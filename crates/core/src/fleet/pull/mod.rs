//! Clusters that pull their declaration from the management cluster.
//!
//! - `names` has the names of their objects on the management cluster.
//! - `enrolment` has these objects.
//! - `hub_access` is the access to them, in a Secret of the workload cluster.
//! - `copy` is the cluster's copy of the declaration.

mod copy;
mod enrolment;
mod hub_access;
mod names;

pub use self::{
    copy::{CopyError, DeclarationCopy, PresentDeclaration},
    enrolment::{ENROLLER, Enrolment, FleetAccount, REVOKED_KINDS},
    hub_access::{HUB_SECRET, HubAccess, HubAccessError, TOKEN_LIFE},
    names::{DECLARATION, InvalidClusterName, PullNames},
};
