//! Real parts to test against, on one Debian machine without a container engine: etcd,
//! the programs of Kubernetes, containerd, registries, Helm, Cluster API.
//!
//! ```no_run
//! # fn main() -> Result<(), image_swap_testbed::Error> {
//! use image_swap_testbed::{ControlPlane, Node, NodeOptions, Options, Parts};
//!
//! let parts = Parts::present()?;
//! let control_plane = ControlPlane::start(&parts, &Options::complete())?;
//! let node = Node::start(&parts, &control_plane, &NodeOptions::default())?;
//! # Ok(()) }
//! ```
//!
//! A value that exists is ready to be used: `start` returns when the part
//! answers. Dropping it ends its processes and removes its files; so does the
//! end of the test by any other way, see [`Process`] and [`RunDir`].

mod cache;
mod cluster;
mod cluster_api;
mod control_plane;
mod control_planes;
mod error;
mod helm;
mod http;
mod image;
mod janitor;
mod kubeconfig;
mod node;
mod object;
pub mod oci;
mod parts;
mod pki;
mod port;
mod private_file;
mod process;
mod product;
mod progress;
mod recorder;
mod registry;
pub mod run;
mod turn;
mod wait;

pub use crate::{
    cache::Cache,
    cluster::Cluster,
    cluster_api::ClusterApi,
    control_plane::{ControlPlane, Options},
    control_planes::ControlPlanes,
    error::{Error, Missing},
    helm::{Helm, HelmError, HelmMajor, HelmManifest, HelmRelease, HelmRevision, HelmWait, Live},
    http::{Answer, Client as HttpClient},
    image::Image,
    janitor::RunDir,
    node::{Node, NodeOptions},
    object::is_ready,
    parts::{
        ClusterApiParts, Containerd, ControllerParts, CrossToolchain, Group, HelmParts, Minor,
        NodeParts, Parts, Program, RegistryParts, RuntimeParts, ServerParts, Setup, Wheel,
    },
    pki::{Authority, Identity},
    port::{Port, loopback, own_address},
    process::{Process, runs},
    product::Product,
    progress::Progress,
    recorder::Recorder,
    registry::{Credentials, Logged, Registry, RegistryOptions, RegistryVersion},
    turn::Turn,
    wait::{Wait, until},
};
