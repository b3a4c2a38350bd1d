//! Errors of transactions, and the state of the host after them.

use std::{fmt, io};

use crate::{cri, files::HostPath, plan::PlannedStep, verify::check::CheckError};

/// A plan that was given up, and the state of the host.
#[derive(Debug, thiserror::Error)]
#[error("{why}\n{left}")]
pub struct ApplyFailure {
    /// The reason.
    pub why: ApplyError,
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
    #[error("{path}: expected to keep others out by it, found: {source}")]
    Lock {
        /// The file or directory.
        path: HostPath,
        /// The error of the kernel.
        source: io::Error,
    },
    /// A change that was killed half way cannot be rolled back.
    #[error("a change was killed half way, and has to be taken back before anything else is done")]
    Interrupted,
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
#[error("{path}: expected to {doing}, found: {source}")]
pub struct StepError {
    path: HostPath,
    doing: &'static str,
    source: io::Error,
}

/// The state of a host after a plan was given up.
#[derive(Debug)]
pub enum FinalState {
    /// The state of before.
    AsItWas,
    /// The state of before, except for the steps that could not be undone.
    Differs(Vec<StepError>),
    /// A step could not be undone, or the runtime not be restarted.
    Broken(String),
}

impl StepError {
    pub(super) fn of(step: &PlannedStep, source: io::Error) -> Self {
        let doing = match step {
            PlannedStep::MakeDirectory { .. } => "make a directory",
            PlannedStep::Write { .. } => "write a file",
            PlannedStep::Remove { .. } => "remove a file",
            PlannedStep::RemoveDirectory { .. } => "remove a directory",
            PlannedStep::Restart { .. } | PlannedStep::Reload { .. } => "tell the runtime",
        };
        let path = step.path().cloned().unwrap_or_else(|| HostPath::new("/"));
        Self { path, doing, source }
    }
}

impl fmt::Display for FinalState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AsItWas => f.write_str("the host is as it was"),
            Self::Differs(errors) => {
                f.write_str("the host is as it was, but for what could not be taken back:")?;
                errors.iter().try_for_each(|error| write!(f, "\n  {error}"))?;
                f.write_str("\nonce that is mended, `image-swap node restore` does the rest")
            }
            Self::Broken(why) => write!(
                f,
                "not everything could be taken back: {why}; once that is mended, \
                 `image-swap node restore` does the rest"
            ),
        }
    }
}

/// The reason why a restart was not tried, or failed.
#[derive(Debug, thiserror::Error)]
pub enum RestartError {
    /// The runtime's program is not found.
    #[error(
        "expected the program {program} to try the new configuration with, found none; \
         it has to be on the PATH, or run"
    )]
    NoProgram {
        /// The name of the program.
        program: &'static str,
    },
    /// The files for the trial cannot be written, or a process not be started.
    #[error("expected to {doing}, found: {source}")]
    Io {
        /// The operation.
        doing: String,
        /// The error of the kernel.
        source: io::Error,
    },
    /// The runtime does not read the configuration.
    #[error("{program} refuses the new configuration: {said}")]
    Unreadable {
        /// The name of the program.
        program: &'static str,
        /// The message of the runtime.
        said: String,
    },
    /// The runtime runs with the configuration, and its CRI does not.
    #[error("with the new configuration containerd's CRI would not come up: {said}")]
    Preflight {
        /// The message of the runtime.
        said: String,
    },
    /// The watchdog did not start.
    #[error("expected a process that takes the changes back if need be, found: {found}")]
    Unguarded {
        /// The answer that was found instead.
        found: String,
    },
    /// The watchdog rolled a good change back.
    #[error("the change was good, but was taken back meanwhile, by a signal or for lateness")]
    RolledBack,
    /// The command failed.
    #[error("`{command}` failed: {said}")]
    Command {
        /// The command line.
        command: String,
        /// The output of the command.
        said: String,
    },
    /// The runtime does not answer after the restart.
    #[error("after the restart the runtime did not come back: {found}")]
    Away {
        /// The last answer.
        found: String,
    },
    /// The runtime answers, and cannot pull a reference that it could pull before.
    #[error("after the restart {image}, which could be pulled before, could not: {source}")]
    NoPull {
        /// The reference.
        image: String,
        /// In the runtime's words.
        source: cri::Error,
    },
}

impl RestartError {
    /// Adds what was being done to an I/O error.
    pub(super) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}
