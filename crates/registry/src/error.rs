//! Errors of requests to a registry.

use std::io;

/// The error of a request to a registry.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name has no address.
    #[error("cannot resolve the registry {domain}: {source}")]
    Unresolved {
        /// Host and port.
        domain: String,
        /// Error of the resolver.
        source: io::Error,
    },
    /// The host cannot be connected to, or TLS fails.
    #[error("cannot connect to the registry {domain}: {source}")]
    Unreachable {
        /// Host and port.
        domain: String,
        /// Error of the kernel or of TLS.
        source: io::Error,
    },
    /// The host does not respond with HTTP.
    #[error("the registry {domain} does not respond with HTTP: {source}")]
    Broken {
        /// Host and port.
        domain: String,
        /// Error of the HTTP connection.
        source: hyper::Error,
    },
    /// The status is not one of a registry's API.
    #[error("the registry {domain} responds to {path} with {status}")]
    Unexpected {
        /// Host and port.
        domain: String,
        /// Path of the request.
        path: String,
        /// HTTP status of the response.
        status: u16,
    },
    /// The request cannot be sent, or its response is too large.
    #[error("{domain}: {reason}")]
    Cannot {
        /// Host and port.
        domain: String,
        /// Reason.
        reason: String,
    },
}
