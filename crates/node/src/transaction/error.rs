//! Why a plan was not carried out, and how the host is now.

use std::{fmt, io};

use crate::{cri, files::HostPath, plan::PlannedStep, verify::check::CheckError};

/// Why a plan was not carried out, and how the host is now.
#[derive(Debug, thiserror::Error)]
#[error("{why}\n{left}")]
pub struct ApplyFailure {
    /// What went wrong.
    pub why: ApplyError,
    /// How the host is.
    pub left: FinalState,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The plan needs a restart, and that is not allowed.
    #[error("needs-restart: {0}; allow it with --restart allow")]
    NeedsRestart(String),
    /// The right to change the host was not to be had.
    #[error("{path}: expected to keep others out by it, found: {source}")]
    Lock {
        /// The file or directory.
        path: HostPath,
        /// What the kernel said.
        source: io::Error,
    },
    /// What was killed half way could not be taken back.
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

/// How a host is after a plan was given up.
#[derive(Debug)]
pub enum FinalState {
    /// As it was.
    AsItWas,
    /// As it was, but for what could not be taken back.
    Differs(Vec<StepError>),
    /// Something could not be taken back, or the runtime not be brought back.
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

/// Why a restart was not tried, or failed.
#[derive(Debug, thiserror::Error)]
pub enum RestartError {
    /// The runtime's program is not found.
    #[error(
        "expected the program {program} to try the new configuration with, found none; \
         it has to be on the PATH, or run"
    )]
    NoProgram {
        /// Its name.
        program: &'static str,
    },
    /// The files for the trial cannot be written, or a process not be started.
    #[error("expected to {doing}, found: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The runtime does not read the configuration.
    #[error("{program} refuses the new configuration: {said}")]
    Unreadable {
        /// Its name.
        program: &'static str,
        /// Its own words.
        said: String,
    },
    /// The runtime runs with the configuration, and its CRI does not.
    #[error("with the new configuration containerd's CRI would not come up: {said}")]
    Preflight {
        /// Its own words.
        said: String,
    },
    /// The process that takes changes back did not come up.
    #[error("expected a process that takes the changes back if need be, found: {found}")]
    Unguarded {
        /// What came instead.
        found: String,
    },
    /// It took the changes back by itself, though nothing was wrong with them.
    #[error("the change was good, but was taken back meanwhile, by a signal or for lateness")]
    RolledBack,
    /// The command failed.
    #[error("`{command}` failed: {said}")]
    Command {
        /// The command line.
        command: String,
        /// What it said.
        said: String,
    },
    /// The runtime did not come back.
    #[error("after the restart the runtime did not come back: {found}")]
    Away {
        /// What was seen last.
        found: String,
    },
    /// The runtime came back, and cannot pull what it could before.
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
