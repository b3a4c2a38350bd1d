//! Why a registry gave no answer.

use std::io;

/// Why a registry gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody is there, or the name is nobody's.
    #[error("{domain}: expected a registry there, found: {source}")]
    Unreachable {
        /// Host and port.
        domain: String,
        /// What the kernel, or TLS, said.
        source: io::Error,
    },
    /// It does not speak HTTP.
    #[error("{domain}: expected HTTP, found: {source}")]
    Broken {
        /// Host and port.
        domain: String,
        /// What the connection said.
        source: hyper::Error,
    },
    /// It answered something else than a registry does.
    #[error("{domain}: expected an answer of a registry to {path}, found {status}")]
    Unexpected {
        /// Host and port.
        domain: String,
        /// What was asked for.
        path: String,
        /// The HTTP status.
        status: u16,
    },
    /// There is no way to ask.
    #[error("{domain}: {why}")]
    Cannot {
        /// Host and port.
        domain: String,
        /// Why.
        why: String,
    },
}
