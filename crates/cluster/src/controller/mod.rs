//! The controller: reads everything it is responsible for, and takes the next step
//! wherever one is due. Each step is tried, whatever becomes of the others.
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
