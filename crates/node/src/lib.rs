//! One host: its container runtime pulls from the declared mirrors.
//!
//! The pure half says what to change: [`plan()`] compares a [`Desired`] state with
//! an [`Observed`] one and gives a [`Plan`], a list of steps that prints as a
//! diff; [`restore()`] gives the plan that takes our edits away again. Nothing of
//! it does I/O or asks a clock: what it has to know of the host it asks for with
//! [`needs()`], and a shell reads that. All of it works on a [`Files`] in memory
//! just as well, which is how it is tested.
//!
//! The shell around it (feature `shell`): [`observe()`] reads a host, a [`Turn`] is the right to
//! change it, and [`Turn::carry_out`] carries a plan out, wholly or not at all.

#[cfg(feature = "shell")]
mod apply;
mod case;
#[cfg(feature = "shell")]
mod check;
mod containerd;
mod containers;
#[cfg(feature = "shell")]
pub mod cri;
mod desired;
mod docker;
mod files;
mod glob;
#[cfg(feature = "shell")]
mod host;
mod host_path;
mod layout;
mod ledger;
mod needs;
#[cfg(feature = "shell")]
mod observe;
mod observed;
mod owner;
mod plan;
mod rancher;
mod refusal;
mod registries;
#[cfg(feature = "shell")]
pub mod registry;
#[cfg(feature = "shell")]
mod restart;
mod runtime;
mod systemd;
mod telling;
#[cfg(feature = "shell")]
pub mod verify;
mod version;

#[cfg(feature = "shell")]
pub use self::{
    apply::{Applied, Failed, Left, Progress, StepError, Turn, Why},
    check::{CheckError, check},
    host::{Host, Root, enter},
    observe::{Answer, Asks, Daemon, Drift, ObserveError, Seen, Standing, drift, observe},
    restart::{Error as RestartError, Restarting, guard},
};
pub use self::{
    case::{Action, CASES, Case},
    desired::{Desired, Form, Restart},
    files::{Entry, File, Files},
    host_path::HostPath,
    ledger::{Before, Bytes, Ledger, LedgerError, Written},
    needs::needs,
    observed::Observed,
    owner::Owner,
    plan::{Contact, Outcome, Plan, Row, State, Step, plan, restore},
    refusal::Refusal,
    runtime::{RUNTIMES, Runtime},
    version::Version,
};
