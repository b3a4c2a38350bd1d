//! Why a restart was not tried, or failed.

use std::io;

use crate::cri;

/// Why a restart was not tried, or failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
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
    TakenBack,
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

impl Error {
    /// Adds what was being done to an I/O error.
    pub(super) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}
