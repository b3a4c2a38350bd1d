//! Limits of requests to another cluster.

use std::time::Duration;

/// Limits of requests to another cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteLimits {
    /// Longest time for a connection, its TLS handshake included.
    pub connect: Duration,
    /// Longest time for a request with its whole response. Watches have no such limit.
    pub request: Duration,
    /// Longest time until the head of a response, and in which a response transfers nothing. The API
    /// server sends a bookmark to every watch each minute.
    pub idle: Duration,
    /// Bytes of the longest response, and of a watch until it begins again.
    pub response: usize,
}

impl Default for RemoteLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            request: Duration::from_secs(30),
            idle: Duration::from_mins(2),
            response: 4 << 20,
        }
    }
}
