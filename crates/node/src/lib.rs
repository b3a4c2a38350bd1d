//! One host: its container runtime pulls from the declared mirrors.
//!
//! The pure half computes changes. [`plan()`] compares a [`DesiredConfig`] with an [`ObservedHost`]
//! and returns a [`HostPlan`], a list of steps that prints as a diff. [`restore()`] returns the
//! plan that removes image-swap's edits again. Neither does I/O or reads a clock:
//! [`required_paths()`] lists the paths of the host that a plan needs, and a shell reads them. All
//! of it works on a [`HostFiles`] in memory too, as the tests do.
//!
//! The shell is the feature `shell`. [`observe()`] reads a host, a [`HostSession`] is the right to
//! change it, and [`HostSession::apply`] applies a plan completely or not at all.
//! [`restart_in_pod`] starts a change with a restart outside of a pod, which an agent ordered in
//! the [`RestartDirectory`].

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
#[cfg(feature = "shell")]
mod restart;
mod runtime;
#[cfg(feature = "shell")]
mod transaction;
#[cfg(feature = "shell")]
pub mod verify;

pub use self::{
    condition::{CASES, ConditionAction, HostCondition, PlanRefusal},
    desired::{ConfigForm, DesiredConfig, RestartPolicy},
    files::{HostEntry, HostFile, HostFiles, HostPath},
    ledger::{Ledger, LedgerBytes, LedgerError, OriginalFile, WrittenFile},
    observed::{ObservedHost, RuntimeStart},
    owner::HostOwner,
    plan::{Contact, FileState, HostPlan, MirrorRow, PlanOutcome, PlannedStep, builder::restore},
    runtime::{
        kind::{ContainerRuntime, RUNTIMES, Version},
        paths_at_start, plan, required_paths,
    },
};
#[cfg(feature = "shell")]
pub use self::{
    host::{Host, chroot::enter, root::Root},
    observe::{
        HostObservation,
        daemon::{CriStatus, Daemon},
        detect::ObserveError,
        drift::{Drift, DriftState, drift},
        mounted::{UnmountedDirectory, check_mounts, observe_mounted},
        observe,
        tokens::RegistryProbe,
    },
    restart::{
        apply::restart_host,
        detach::detach,
        directory::{RestartDirectory, RestartDirectoryError},
        pod::{PodRestartError, restart_in_pod},
    },
    transaction::{
        Progress, RestartSettings,
        apply::{ApplyOutcome, HostSession},
        error::{ApplyError, ApplyFailure, FinalState, RestartError, StepError},
        watchdog::run as run_watchdog,
    },
    verify::check::{CheckError, check},
};
