//! The controller: reads the objects of the release, and takes each step that is due. A failed step
//! does not keep others from being taken.
//!
//! Every reconciliation begins with the objects stored in the cluster. Watches only start
//! one.

mod certificates;
mod context;
mod declaration;
mod leading;
mod namespace;
mod probe;
mod readiness;
mod reconcile;
mod registration;
mod settings;
mod snapshot;
mod state;
mod steps;
mod uninstall;

pub use self::{
    context::Controller,
    readiness::ReadinessLimits,
    settings::{Intervals, Settings},
};
