//! Changes to a host that are applied completely or not at all.
//!
//! A plan without a restart is undone step by step ([`rollback`]). Before a restart the candidate
//! configuration must start a throwaway containerd ([`preflight`]). Then a watchdog process starts
//! ([`watchdog`]). It rolls everything back unless the change is committed in time, even if the
//! applying process dies. Its plan is on disk ([`journal`]) in case that both are killed. The
//! change is committed when the runtime's CRI answers, and a reference that could be pulled before
//! can still be pulled ([`runtime_health`]).

pub(crate) mod apply;
mod command;
pub(crate) mod error;
mod executor;
mod journal;
mod preflight;
mod rollback;
mod runtime_health;
mod sandbox_config;
mod supervised_restart;
mod undo;
pub(crate) mod watchdog;

use crate::{
    host::{Host, lock::Lock},
    observe::HostObservation,
    plan::HostPlan,
};

/// A receiver of progress, one line at a time.
pub type Progress<'a> = &'a dyn Fn(&str);

/// Settings of a restart.
#[derive(Clone, Debug, Default)]
pub struct RestartSettings {
    /// A command line for `sh`; `None` for that of systemd for the runtime.
    pub command: Option<String>,
    /// A reference that has to be pulled as before; `None` for one that the host runs.
    pub image: Option<String>,
}

/// A plan, the observation that it was made from, and the settings by which it is applied.
pub(crate) struct HostChange<'a> {
    pub(crate) host: &'a Host,
    pub(crate) lock: &'a Lock,
    pub(crate) plan: &'a HostPlan,
    pub(crate) seen: &'a HostObservation,
    /// The restart; `None` if no command is run on the host.
    pub(crate) restarting: Option<&'a RestartSettings>,
    pub(crate) progress: Progress<'a>,
}
