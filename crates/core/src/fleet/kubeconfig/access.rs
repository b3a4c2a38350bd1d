//! Server and credential of a workload cluster.

use std::fmt;

/// Access to the API server of a workload cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteAccess {
    /// URL of the API server: `https://`, host, and an optional port and path.
    pub server: String,
    /// Name in the certificate of the API server; `None` for the host of [`Self::server`].
    pub tls_server_name: Option<String>,
    /// Authorities in PEM; `None` for those of the system.
    pub authority: Option<Vec<u8>>,
    /// Credential of the client.
    pub credential: RemoteCredential,
}

/// Credential for a workload cluster.
#[derive(Clone, PartialEq, Eq)]
pub enum RemoteCredential {
    /// Bearer token.
    Token(String),
    /// Client certificate.
    Certificate {
        /// Certificates in PEM, that of the client first.
        chain: Vec<u8>,
        /// Private key in PEM.
        key: Vec<u8>,
    },
}

impl fmt::Debug for RemoteCredential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Token(_) => "Token(..)",
            Self::Certificate { .. } => "Certificate(..)",
        })
    }
}

/// API server of a workload cluster, without a credential.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RemoteServer {
    /// See [`RemoteAccess::server`].
    pub server: String,
    /// See [`RemoteAccess::tls_server_name`].
    pub tls_server_name: Option<String>,
    /// See [`RemoteAccess::authority`].
    pub authority: Option<Vec<u8>>,
}

impl RemoteServer {
    /// Returns the access to this server by `credential`.
    pub fn with(self, credential: RemoteCredential) -> RemoteAccess {
        let Self { server, tls_server_name, authority } = self;
        RemoteAccess { server, tls_server_name, authority, credential }
    }
}
