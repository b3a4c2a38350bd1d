//! The chart on a real cluster: etcd, an API server, its controllers, a node with
//! containerd, a company's registry over TLS, and Helm.
//!
//! [`HelmCluster::start`] starts all of it and returns a value that owns it. Dropping the
//! value ends everything. Each test has a cluster of its own, and at most two of
//! them run at the same time. A cluster offers:
//!
//! | | |
//! | --- | --- |
//! | [`HelmCluster::install`], [`HelmCluster::upgrade`], [`HelmCluster::uninstall`], [`HelmCluster::helm`] | the chart, by Helm |
//! | [`HelmCluster::wait_ready`], [`HelmCluster::wait_policy`], [`HelmCluster::wait_swapped`] | waits for an event instead of a time |
//! | [`HelmCluster::swapped`] | the image that the API server would store, by a dry run |
//! | [`HelmCluster::kubectl`], [`HelmCluster::shell`] | commands as a user types them, in [`HelmCluster::folder`] |
//! | [`HelmCluster::publish`], [`HelmCluster::declare_credentials`] | an image in the registry; the Secret `registry-info` with a user |
//! | [`HelmCluster::objects`] | every stored object, to compare before and after |
//! | [`HelmCluster::restart_container`] | a container that ends, and is started again by the kubelet |
//! | [`HelmCluster::nodes`], `cluster.others`, [`HelmCluster::add_node`] | all nodes; the additional nodes of a test; a node that joins later |
//! | [`HelmCluster::start_workload`] | a workload cluster with a node, for the fleet controller |
//! | `cluster.control_plane`, `cluster.node`, `cluster.registry` | the parts: `etcd().kill()`, `api_server().stop()`, `wait_ready()`, … |
//! | `cluster.public` | a recorder of connections to public registries |
//! | `known_failure` | a check that fails until a known defect is fixed |
//!
//! The names of the public registries lead to the recorder. `harbor.example.org` is the
//! registry of the cluster, on port 443 of a loopback address, with a certificate of a
//! private authority. containerd trusts the authority through the files that
//! `image-swap render containerd` writes, or that agents write if the nodes are bare.

mod helm_cluster;
mod known_failure;
mod kubectl;
mod node_files;
mod node_mirror;
mod objects;
mod program;
mod registration;
mod registry;
mod release;
mod wait;
mod workload;

pub use self::{
    helm_cluster::{HelmCluster, HelmClusterOptions, root},
    known_failure::known_failure,
    node_files::NodeFiles,
    node_mirror::condition,
    objects::Objects,
    program::Program,
    registry::{BASE_PATH, HARBOR, PUBLIC},
    release::{Install, PALETTE_SECRET, PALETTE_VALUES},
    wait::pod,
    workload::WorkloadPlane,
};

/// The limit of every wait, longer than any step takes on a busy machine.
pub const DEADLINE: std::time::Duration = std::time::Duration::from_mins(4);
