//! The chart on a real cluster: etcd, an API server, its controllers, a node with
//! containerd, a company's registry over TLS, and Helm.
//!
//! [`Stage::start`] starts all of it and returns a value that owns it. Dropping the
//! value ends everything. Each test has a stage of its own, and stages of several
//! processes wait for each other. A stage offers:
//!
//! | | |
//! | --- | --- |
//! | [`Stage::install`], [`Stage::upgrade`], [`Stage::uninstall`], [`Stage::helm`] | the chart, by Helm |
//! | [`Stage::wait_ready`], [`Stage::wait_policy`], [`Stage::wait_swapped`] | waits for an event instead of a time |
//! | [`Stage::swapped`] | the image that the API server would store, by a dry run |
//! | [`Stage::kubectl`], [`Stage::shell`] | commands as a user types them, in [`Stage::folder`] |
//! | [`Stage::publish`], [`Stage::declare_credentials`] | an image in the registry; the Secret `registry-info` with a user |
//! | [`Stage::objects`] | every stored object, to compare before and after |
//! | [`Stage::restart_container`] | a container that ends, and is started again by the kubelet |
//! | `stage.control_plane`, `stage.node`, `stage.registry` | the parts: `etcd().kill()`, `api_server().stop()`, `wait_ready()`, … |
//! | `stage.public` | a recorder of connections to public registries |
//! | [`known_failure`] | a check that fails until a known defect is fixed |
//!
//! The names of the public registries lead to the recorder. `harbor.example.org` is the
//! registry of the stage, on port 443 of a loopback address, with a certificate of a
//! private authority. containerd trusts the authority through the files that
//! `image-swap render containerd` writes.

mod known_failure;
mod kubectl;
mod objects;
mod program;
mod registration;
mod registry;
mod release;
mod stage;
mod wait;

pub use self::{
    known_failure::known_failure,
    objects::Objects,
    program::Program,
    registry::{BASE_PATH, HARBOR, PUBLIC},
    release::{Install, PAGE_SECRET, PAGE_VALUES},
    stage::{Stage, StageOptions, root},
    wait::pod,
};

/// The limit of every wait, longer than any step takes on a busy machine.
pub const DEADLINE: std::time::Duration = std::time::Duration::from_mins(4);
