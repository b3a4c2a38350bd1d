//! What can go wrong.

use std::{io, path::PathBuf, process::ExitStatus};

/// Why a part could not be had or did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This machine lacks something; nothing was tried.
    #[error(transparent)]
    Unavailable(#[from] Missing),
    /// The operating system refused.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done, with the path.
        doing: String,
        /// Its reason.
        source: io::Error,
    },
    /// A command that should succeed did not.
    #[error("`{command}` failed ({status}):\n{output}")]
    Command {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it said.
        output: String,
    },
    /// A long step failed; its whole output is in a file.
    #[error("{step} failed ({status}); all of its output is in {}, which ends:\n{output}", log.display())]
    Step {
        /// The step, as it was announced.
        step: String,
        /// How it ended.
        status: ExitStatus,
        /// The file with its output.
        log: PathBuf,
        /// The end of that file.
        output: String,
    },
    /// A server ended by itself.
    #[error("{name} ended ({status}); its log ends:\n{output}")]
    Ended {
        /// The server.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of its log.
        output: String,
    },
    /// What was waited for did not come.
    #[error("waited {seconds} s for {what}; last seen: {last}")]
    Deadline {
        /// What was waited for.
        what: String,
        /// For how long.
        seconds: u64,
        /// What was there instead.
        last: String,
    },
    /// A server answered, but not as it should.
    #[error("{request} was answered {status}, expected {expected}: {body}")]
    Answer {
        /// Method and URL.
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
}

/// What a machine lacks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unavailable: {what}. To get it: {how}")]
pub struct Missing {
    /// What is missing.
    pub what: String,
    /// What to do about it.
    pub how: String,
}

impl Error {
    /// Adds what was being done to an I/O error: `.map_err(Error::io("…"))`.
    pub fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }

    /// Something is missing.
    pub fn unavailable(what: impl Into<String>, how: impl Into<String>) -> Self {
        Missing { what: what.into(), how: how.into() }.into()
    }
}
