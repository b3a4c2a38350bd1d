//! One host: its container runtime pulls from the declared mirrors.
//!
//! The pure half says what to change: [`plan()`] compares a [`Desired`] state with
//! an [`Observed`] one and gives a [`Plan`], a list of steps that prints as a
//! diff; [`restore()`] gives the plan that takes our edits away again. Nothing of
//! it does I/O or asks a clock: what it has to know of the host it asks for with
//! [`needs()`], and a shell reads that. All of it works on a [`Files`] in memory
//! just as well, which is how it is tested.

mod desired;
mod files;
mod host_path;
mod ledger;
mod needs;
mod observed;
mod owner;
mod plan;
mod refusal;
mod runtime;
mod version;

pub use self::{
    desired::{Desired, Form, Restart},
    files::{Entry, File, Files},
    host_path::HostPath,
    ledger::{Before, Bytes, Ledger, LedgerError, Written},
    needs::needs,
    observed::Observed,
    owner::Owner,
    plan::{Outcome, Plan, Row, State, Step, plan, restore},
    refusal::Refusal,
    runtime::{RUNTIMES, Runtime},
    version::Version,
};
