//! Real container runtimes on hosts with a simulated internet.
//!
//! A [`LabHost`] has a network of its own. The names of public registries and of the company's
//! mirrors resolve to servers of the lab: a real registry behind reverse proxies, which require
//! credentials, fail on demand, and record every request. The runtimes are [`Daemon`]
//! (containerd), [podman](LabHost::podman_pull) and [skopeo](LabHost::skopeo_inspect).
//!
//! [`pairs`] selects the combinations of a test's dimensions.

mod content;
mod host;
mod log;
pub mod pairs;
mod reverse_proxy;
mod runtime;
mod server;

pub use crate::{
    content::{Content, UPSTREAM},
    host::{HostOptions, LabHost, MIRROR, PUBLIC, SECOND, Trust},
    log::{Log, Request, Server},
    reverse_proxy::{Access, Answers, RegistryServer},
    runtime::containerd::Daemon,
};
