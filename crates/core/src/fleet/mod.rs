//! The fleet: decisions of a management cluster about its workload clusters.
//!
//! - [`kubeconfig`] reads the access to a workload cluster, and refuses what would run a program,
//!   read a file or skip the check of a certificate.
//! - [`in_force`] detects objects and fields that another program deleted.
//! - [`inventory`] is the set of workload clusters.
//! - [`assignment`] selects the declaration of a cluster.
//! - [`wanted`] selects the declaration that a cluster is to have in the end.
//! - [`bundle`] has the objects that a workload cluster receives.
//! - [`event_pace`] limits the Events about workload clusters.
//! - [`history`] keeps earlier declarations.
//! - [`namespace_declaration`] has the declaration of a namespace with clusters.
//! - [`drift`] separates drift from conflicts.
//! - [`pace`] limits the heartbeats of a cluster that are read.
//! - [`pull`] has the objects of a cluster that pulls its declaration.
//! - [`repair`] decides which changes of `registry-info` by other writers are repaired.
//! - [`wave`] selects the clusters that may receive a declaration.

pub mod assignment;
pub mod bundle;
pub mod drift;
pub mod event_pace;
mod field_path;
pub mod history;
pub mod in_force;
pub mod inventory;
pub mod kubeconfig;
pub mod namespace_declaration;
pub mod pace;
pub mod pull;
pub mod repair;
pub mod wanted;
pub mod wave;
