//! Errors of calls to a runtime.

use std::{io, path::PathBuf, time::Duration};

/// gRPC's code for a service that is not served (`codes.Unimplemented`).
const UNIMPLEMENTED: u32 = 12;

/// The reason why a call to a runtime failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No process listens at the socket.
    #[error("cannot connect to the container runtime at {}: {source}", socket.display())]
    Unreachable {
        /// The path of the socket.
        socket: PathBuf,
        /// The error of the kernel.
        source: io::Error,
    },
    /// The process at the socket does not speak gRPC, or closed the connection.
    #[error("{method}: the runtime did not answer: {source}")]
    Broken {
        /// The method that was called.
        method: &'static str,
        /// The error of the connection.
        source: hyper::Error,
    },
    /// The answer is not a message.
    #[error("{method}: the answer of the runtime is invalid: {found}")]
    Garbled {
        /// The method that was called.
        method: &'static str,
        /// The response that was found, in words.
        found: String,
    },
    /// The runtime refuses the call.
    #[error("{method}: {message}")]
    Refused {
        /// The method that was called.
        method: &'static str,
        /// The status code of gRPC.
        code: u32,
        /// The message of the runtime.
        message: String,
    },
    /// There was no answer in time.
    #[error("{method}: the runtime did not answer within {} s", after.as_secs())]
    Late {
        /// The method that was called.
        method: &'static str,
        /// The deadline of the call.
        after: Duration,
    },
    /// The machine refuses a connection.
    #[error("cannot open a connection: {0}")]
    Io(#[from] io::Error),
}

impl Error {
    /// Returns true if the runtime runs and its CRI does not: containerd answers so if it refuses
    /// the configuration of the plugin.
    pub const fn is_dead_plugin(&self) -> bool {
        matches!(self, Self::Refused { code: UNIMPLEMENTED, .. })
    }
}
