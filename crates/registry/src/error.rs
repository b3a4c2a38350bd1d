//! Failures of requests to a registry.

use std::io;

/// The error of a request to a registry.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name has no address.
    #[error("{domain}: expected a registry there, found: {source}")]
    Unresolved {
        /// Host and port.
        domain: String,
        /// Error of the resolver.
        source: io::Error,
    },
    /// The host cannot be connected to, or TLS fails.
    #[error("{domain}: expected a registry there, found: {source}")]
    Unreachable {
        /// Host and port.
        domain: String,
        /// Error of the kernel or of TLS.
        source: io::Error,
    },
    /// The host does not speak HTTP.
    #[error("{domain}: expected HTTP, found: {source}")]
    Broken {
        /// Host and port.
        domain: String,
        /// Error of the HTTP connection.
        source: hyper::Error,
    },
    /// The response is not one of a registry.
    #[error("{domain}: expected an answer of a registry to {path}, found {status}")]
    Unexpected {
        /// Host and port.
        domain: String,
        /// Path of the request.
        path: String,
        /// HTTP status of the response.
        status: u16,
    },
    /// The request cannot be sent, or its response is too large.
    #[error("{domain}: {why}")]
    Cannot {
        /// Host and port.
        domain: String,
        /// Reason.
        why: String,
    },
}
