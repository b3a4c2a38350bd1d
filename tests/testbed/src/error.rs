//! Errors of parts, and requirements that a machine does not meet.

use std::{io, path::PathBuf, process::ExitStatus};

/// The failure of a part: it is missing, or does not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A requirement that this machine lacks; no action was tried.
    #[error(transparent)]
    Unavailable(#[from] Missing),
    /// The operating system refused an operation.
    #[error("{doing}: {source}")]
    Io {
        /// The action that failed, with the path.
        doing: String,
        /// The error of the system.
        source: io::Error,
    },
    /// A command that should succeed did not.
    #[error("`{command}` failed ({status}):\n{output}")]
    Command {
        /// The command line that failed.
        command: String,
        /// The exit status of the command.
        status: ExitStatus,
        /// The end of its output.
        output: String,
    },
    /// A long step failed; its whole output is in a file.
    #[error("{step} failed ({status}); all of its output is in {}, which ends:\n{output}", log.display())]
    Step {
        /// The step, as it was announced.
        step: String,
        /// The exit status of the step.
        status: ExitStatus,
        /// The file with its output.
        log: PathBuf,
        /// The end of that file.
        output: String,
    },
    /// A server ended unexpectedly.
    #[error("{name} ended ({status}); its log ends:\n{output}")]
    Ended {
        /// The name of the server.
        name: String,
        /// The exit status of the server.
        status: ExitStatus,
        /// The end of its log.
        output: String,
    },
    /// The awaited state was not reached in time.
    #[error("waited {seconds} s for {what}; last seen: {last}")]
    Deadline {
        /// The awaited state.
        what: String,
        /// The duration of the wait in seconds.
        seconds: u64,
        /// The state at the last check.
        last: String,
    },
    /// A server answered, but not as it should.
    #[error("{request} was answered {status}, expected {expected}: {body}")]
    Answer {
        /// Method and URL of the request.
        request: String,
        /// The status code of the answer.
        status: u16,
        /// The status code that was expected.
        expected: u16,
        /// The beginning of the body.
        body: String,
    },
    /// A certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A token could not be signed.
    #[error("cannot sign a token: {0}")]
    Token(&'static str),
}

/// A requirement that a machine does not meet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unavailable: {what}. To get it: {how}")]
pub struct Missing {
    /// The name of the missing part.
    pub what: String,
    /// The remedy for a developer.
    pub how: String,
}

impl Error {
    /// Adds the failed action to an I/O error: `.map_err(Error::io("…"))`.
    pub fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }

    /// Returns the error of a missing part, with its remedy.
    pub fn unavailable(what: impl Into<String>, how: impl Into<String>) -> Self {
        Missing { what: what.into(), how: how.into() }.into()
    }
}
