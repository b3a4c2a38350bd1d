//! Why a runtime gave no answer.

use std::{io, path::PathBuf, time::Duration};

/// gRPC's code for a service that nobody serves (`codes.Unimplemented`).
const UNIMPLEMENTED: u32 = 12;

/// Why a runtime gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens.
    #[error("{}: expected a container runtime to listen there, found: {source}", socket.display())]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Somebody listens, and does not speak gRPC, or went away meanwhile.
    #[error("{method}: expected an answer, found: {source}")]
    Broken {
        /// The call.
        method: &'static str,
        /// What the connection said.
        source: hyper::Error,
    },
    /// The answer is no message.
    #[error("{method}: expected a message, found {found}")]
    Garbled {
        /// The call.
        method: &'static str,
        /// What came instead.
        found: String,
    },
    /// The runtime says no.
    #[error("{method}: {message}")]
    Refused {
        /// The call.
        method: &'static str,
        /// gRPC's code.
        code: u32,
        /// The runtime's own words.
        message: String,
    },
    /// There was no answer in time.
    #[error("{method}: expected an answer within {} s, found none", after.as_secs())]
    Late {
        /// The call.
        method: &'static str,
        /// How long it was waited for.
        after: Duration,
    },
    /// Nothing can be sent from here.
    #[error("expected to make a connection, found: {0}")]
    Io(#[from] io::Error),
}

impl Error {
    /// Whether the runtime runs and its CRI does not: containerd says so when
    /// the configuration of the plugin is refused.
    pub const fn is_dead_plugin(&self) -> bool {
        matches!(self, Self::Refused { code: UNIMPLEMENTED, .. })
    }
}
