//! Container runtimes on machines whose whole internet is ours.
//!
//! A [`Host`] is a machine with a network of its own in which every public
//! registry's name leads to a recorder, and the company's names to mirrors: a
//! real registry behind a front that asks for credentials, fails, and keeps a
//! record of all that arrived. On it run the real daemons: [`Daemon`]
//! (containerd), [podman](Host::podman_pull), [skopeo](Host::skopeo_inspect).
//!
//! [`pairs`] chooses which combinations of a test's dimensions are tried.

mod content;
mod front;
mod host;
mod log;
pub mod pairs;
mod runtime;
mod server;

pub use crate::{
    content::{Content, UPSTREAM},
    front::{Access, Answers, Site},
    host::{Host, HostOptions, MIRROR, PUBLIC, SECOND, Trust},
    log::{Log, Request, Server},
    runtime::containerd::Daemon,
};
