//! The chart on a real cluster: etcd, an API server, its controllers, a node with
//! containerd, a company's registry over TLS, and Helm's own code.
//!
//! [`Stage::start`] sets all of it up (half a minute) and gives a value that owns
//! it; dropping it ends everything. One test function walks over one stage, since
//! tests run in processes of their own. What it offers:
//!
//! | | |
//! | --- | --- |
//! | [`Stage::install`], [`Stage::upgrade`], [`Stage::uninstall`], [`Stage::helm`] | the chart, by Helm |
//! | [`Stage::wait_ready`], [`Stage::wait_policy`], [`Stage::wait_swapped`] | events to wait for, instead of times |
//! | [`Stage::swapped`] | what an image becomes, by a dry run through admission |
//! | [`Stage::kubectl`], [`Stage::shell`] | commands as people type them, in [`Stage::folder`] |
//! | [`Stage::publish`], [`Stage::declare`] | an image in the registry; the page's Secret |
//! | [`Stage::objects`] | everything that is stored, to compare before and after |
//! | `stage.control_plane`, `stage.node`, `stage.registry` | the parts: `etcd().kill()`, `api_server().stop()`, `wait_ready()`, … |
//! | `stage.public` | who was called for by the name of a public registry |
//!
//! The names of the public registries lead to a recorder, and so does nothing
//! else: `harbor.example.org` is the registry of the stage, on port 443 of a
//! loopback address, with a certificate of a private authority. containerd trusts
//! that as `image-swap render containerd` has it. Pods resolve no name.

mod kubectl;
mod objects;
mod program;
mod registration;
mod registry;
mod release;
mod stage;
mod wait;

pub use self::{
    objects::Objects,
    program::Program,
    registry::{BASE_PATH, HARBOR, PUBLIC},
    release::{Install, PAGE_SECRET, PAGE_VALUES},
    stage::{Stage, root},
};

/// Longer than anything takes on a machine that builds something meanwhile.
pub const DEADLINE: std::time::Duration = std::time::Duration::from_mins(4);
