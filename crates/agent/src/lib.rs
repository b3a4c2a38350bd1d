//! The agent of a node: it applies the declaration that the controller derives for nodes, repairs
//! files that another program changed, and reports.
//!
//! The agent follows one Secret by one watch, and reads the `NodeMirror` of its node before each
//! look at the host. It writes only files that the runtime reads at each pull. It runs no program,
//! opens no socket of the host and restarts nothing: a plan that needs a restart is reported with
//! the command to run. With [`AgentRestart::Rolling`] the agent also writes an order for it, which
//! a pod of the controller applies.
//!
//! Only two events change a host: a declaration that was read, and a Secret that requests the
//! restoration. An absent or malformed Secret, an API server that does not respond, and SIGTERM
//! leave the host as it is.
//!
//! [`RestoredHost`] is the restoration of a host without an API server, for clusters whose release
//! is gone.
//!
//! `status` and `drift` are pure; `node` is the shell around `image_swap_node`, `mirror` and
//! `declared` are those around the API server.

mod agent;
mod backoff;
mod declared;
mod drift;
mod error;
mod mirror;
mod node;
mod restart;
mod restored;
mod settings;
mod status;

pub use self::{
    agent::NodeAgent,
    restored::{RestoreRefusal, RestoredHost},
    settings::{AgentRestart, NodeAgentSettings},
};
