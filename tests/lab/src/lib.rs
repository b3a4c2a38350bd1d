//! Container runtimes on machines whose whole internet is ours.
//!
//! A [`LabHost`] is a machine with a network of its own in which every public
//! registry's name leads to a recorder, and the company's names to mirrors: a
//! real registry behind a proxy that asks for credentials, fails, and keeps a
//! record of all that arrived. On it run the real daemons: [`Daemon`]
//! (containerd), [podman](LabHost::podman_pull), [skopeo](LabHost::skopeo_inspect).
//!
//! [`pairs`] chooses which combinations of a test's dimensions are tried.

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
