//! One host: its container runtime pulls from the declared mirrors.
//!
//! The pure half says what to change: [`plan()`] compares a [`Desired`] state with
//! an [`Observed`] one and gives a [`Plan`], a list of steps that prints as a
//! diff; [`restore()`] gives the plan that takes our edits away again. Nothing of
//! it does I/O or asks a clock: what it has to know of the host it asks for with
//! [`needs()`], and a shell reads that. All of it works on a [`Files`] in memory
//! just as well, which is how it is tested.
//!
//! The shell around it: [`observe()`] reads a host, a [`Turn`] is the right to
//! change it, and [`Turn::carry_out`] carries a plan out, wholly or not at all.

mod apply;
mod case;
mod containerd;
mod containers;
pub mod cri;
mod desired;
mod docker;
mod files;
mod glob;
mod host;
mod host_path;
mod ledger;
mod needs;
mod observe;
mod observed;
mod owner;
mod plan;
mod rancher;
mod refusal;
pub mod registry;
mod restart;
mod runtime;
mod telling;
mod toml;
pub mod verify;
mod version;

pub use self::{
    apply::{Applied, Failed, Left, Progress, StepError, Turn, Why},
    case::{Action, CASES, Case},
    desired::{Desired, Form, Restart},
    files::{Entry, File, Files},
    host::{Host, Root, enter},
    host_path::HostPath,
    ledger::{Before, Bytes, Ledger, LedgerError, Written},
    needs::needs,
    observe::{Answer, Asks, Daemon, Drift, ObserveError, Seen, Standing, drift, observe},
    observed::Observed,
    owner::Owner,
    plan::{Outcome, Plan, Row, State, Step, plan, restore},
    refusal::Refusal,
    restart::{Error as RestartError, Restarting, guard},
    runtime::{RUNTIMES, Runtime},
    version::Version,
};
