//! One host: its container runtime pulls from the declared mirrors.
//!
//! The pure half computes changes: [`plan()`] compares a [`Desired`] state with
//! an [`Observed`] one and returns a [`Plan`], a list of steps that prints as a
//! diff; [`restore()`] returns the plan that removes image-swap's edits again. It does no I/O
//! and reads no clock: [`needs()`] lists the paths of the host that it has to know, and a shell
//! reads them. All of it works on a [`Files`] in memory too, which is how it is tested.
//!
//! The shell around it (feature `shell`): [`observe()`] reads a host, a [`Turn`] is the right to
//! change it, and [`Turn::carry_out`] applies a plan completely or not at all.

mod condition;
#[cfg(feature = "shell")]
pub mod cri;
mod desired;
mod files;
#[cfg(feature = "shell")]
mod host;
mod ledger;
#[cfg(feature = "shell")]
mod observe;
mod observed;
mod owner;
mod plan;
#[cfg(feature = "shell")]
mod registry;
mod runtime;
#[cfg(feature = "shell")]
mod transaction;
#[cfg(feature = "shell")]
pub mod verify;

pub use self::{
    condition::{Action, CASES, Case, Refusal},
    desired::{Desired, Form, Restart},
    files::{Entry, File, Files, HostPath},
    ledger::{Before, Bytes, Ledger, LedgerError, Written},
    observed::Observed,
    owner::Owner,
    plan::{Contact, Outcome, Plan, Row, State, Step, builder::restore},
    runtime::{
        kind::{RUNTIMES, Runtime, Version},
        needs, plan,
    },
};
#[cfg(feature = "shell")]
pub use self::{
    host::{Host, chroot::enter, root::Root},
    observe::{
        Seen,
        daemon::{Answer, Daemon},
        detect::ObserveError,
        drift::{Drift, Standing, drift},
        observe,
        tokens::Asks,
    },
    transaction::{
        Progress, Restarting,
        apply::{Applied, Turn},
        error::{Failed, Left, RestartError, StepError, Why},
        watchdog::run as run_watchdog,
    },
    verify::check::{CheckError, check},
};
