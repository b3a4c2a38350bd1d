//! Errors of transactions, and the state of the host after them.

use std::{fmt, io};

use crate::{
    cri, files::HostPath, host::Host, plan::PlannedStep, transaction::journal,
    verify::check::CheckError,
};

/// A plan that was given up, and the state of the host.
#[derive(Debug, thiserror::Error)]
#[error("{reason}\n{left}")]
pub struct ApplyFailure {
    /// The reason for the failure.
    pub reason: ApplyError,
    /// The state of the host.
    pub left: FinalState,
}

/// The reason why a plan was given up.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The plan needs a restart, and that is not allowed.
    #[error("needs-restart: {0}; allow it with --restart allow")]
    NeedsRestart(String),
    /// The host cannot be locked.
    #[error("cannot lock {state}: {0}", state = Host::state())]
    Lock(io::Error),
    /// A change that was killed half way cannot be rolled back.
    #[error("an earlier change was killed before it was complete, and must be rolled back first")]
    Interrupted,
    /// A change with a restart was killed half way, and its rollback needs a restart too.
    #[error(
        "{journal}: a change with a restart was killed before it was complete, and its rollback needs a restart; run `image-swap node status` on the host, then `image-swap node restore`",
        journal = journal::path()
    )]
    InterruptedRestart,
    /// The runtime could not pull from the declared registry.
    #[error(transparent)]
    Registry(#[from] CheckError),
    /// A file could not be written.
    #[error(transparent)]
    Step(#[from] StepError),
    /// The restart was not to be tried, or failed.
    #[error(transparent)]
    Restart(#[from] RestartError),
}

/// A step that the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {path}: {source}")]
pub struct StepError {
    path: HostPath,
    doing: &'static str,
    source: io::Error,
}

/// The state of a host after a plan was given up.
#[derive(Debug)]
pub enum FinalState {
    /// The host is in the state before the change.
    AsItWas,
    /// The host is in the state before the change, except for these steps that could not be undone.
    Differs(Vec<StepError>),
    /// A step could not be undone, or the runtime could not be restarted; contains the reason.
    Broken(String),
}

impl StepError {
    pub(super) fn of(step: &PlannedStep, source: io::Error) -> Self {
        let doing = match step {
            PlannedStep::MakeDirectory { .. } => "make the directory",
            PlannedStep::Write { .. } => "write",
            PlannedStep::Remove { .. } => "remove",
            PlannedStep::RemoveDirectory { .. } => "remove the directory",
            PlannedStep::Restart { .. } | PlannedStep::Reload { .. } => "reload the runtime for",
        };
        let path = step.path().cloned().unwrap_or_else(|| HostPath::new("/"));
        Self { path, doing, source }
    }
}

/// The remedy after an incomplete rollback.
const REMEDY: &str = "remove the cause, then run `image-swap node restore`";

impl fmt::Display for FinalState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AsItWas => f.write_str("the host is as it was"),
            Self::Differs(errors) => {
                f.write_str("the host is as it was, except for what cannot be rolled back:")?;
                errors.iter().try_for_each(|error| write!(f, "\n  {error}"))?;
                write!(f, "\n{REMEDY}")
            }
            Self::Broken(reason) => write!(f, "cannot roll back everything: {reason}; {REMEDY}"),
        }
    }
}

/// The reason why a restart was not tried, or failed.
#[derive(Debug, thiserror::Error)]
pub enum RestartError {
    /// The runtime's program is not found.
    #[error(
        "cannot try the new configuration: the program containerd is not found; put it on the \
         PATH, or start it"
    )]
    NoProgram,
    /// The files for the trial cannot be written, or a process not be started.
    #[error("cannot {doing}: {source}")]
    Io {
        /// The operation that failed.
        doing: String,
        /// The error of the kernel.
        source: io::Error,
    },
    /// The runtime does not read the configuration: its message.
    #[error("containerd refuses the new configuration: {0}")]
    Unreadable(String),
    /// The runtime runs with the configuration, and its CRI does not: its message.
    #[error("containerd's CRI does not start with the new configuration: {0}")]
    Preflight(String),
    /// The watchdog did not start: its answer.
    #[error("the watchdog, which rolls the change back if necessary, does not run: {0}")]
    Unguarded(String),
    /// The watchdog rolled a good change back.
    #[error(
        "the change was good, but the watchdog rolled it back: it received a signal, or the change took too long"
    )]
    RolledBack,
    /// The restart command failed.
    #[error("`{command}` failed: {output}")]
    Command {
        /// The command line that failed.
        command: String,
        /// The output of the command.
        output: String,
    },
    /// The runtime does not answer after the restart: its last answer.
    #[error("after the restart the runtime did not come back: {0}")]
    Away(String),
    /// The runtime answers, and cannot pull a reference that it could pull before.
    #[error(
        "after the restart the runtime cannot pull {image}, which it could pull before: {source}"
    )]
    NoPull {
        /// The reference that could not be pulled.
        image: String,
        /// The error of the runtime.
        source: cri::Error,
    },
}

impl RestartError {
    /// Adds the failed operation to an I/O error.
    pub(super) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}
