//! A restart that cannot leave a host without its runtime.
//!
//! First the candidate configuration has to bring up a throwaway containerd
//! ([`preflight`]). Then a process of its own is armed ([`guard`]), which puts
//! everything back unless it is disarmed in time, also if we die; what it would do
//! lies on the disk meanwhile ([`armed`]), in case that both are killed. It is disarmed
//! when the runtime's CRI answers, and a reference that could be pulled before
//! can still be pulled ([`trial`]).

pub(crate) mod armed;
mod candidate;
mod command;
mod error;
pub mod guard;
mod guarded;
mod order;
mod preflight;
mod trial;

use std::path::PathBuf;

pub use self::error::Error;
pub(crate) use self::{command::run, guarded::Guarded, preflight::clean};

/// How a runtime is restarted, and what has to work afterwards.
#[derive(Clone, Debug, Default)]
pub struct Restarting {
    /// A command line for `sh`; none: systemd's, for the runtime.
    pub command: Option<String>,
    /// A reference that has to be pulled as before; none: one that the host runs.
    pub image: Option<String>,
}

/// Where a runtime is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its socket.
    pub(crate) socket: PathBuf,
    /// Whether that speaks CRI.
    pub(crate) cri: bool,
    /// The process that listens there before the restart, if it can be seen.
    pub(crate) pid: Option<u32>,
}
