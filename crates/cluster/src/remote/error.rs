//! Errors of requests to another cluster, in image-swap's own words.

use std::{
    error::Error,
    io::{self, ErrorKind},
};

use http_body_util::LengthLimitError;

/// Error of a request to another cluster. Quotes nothing that the cluster sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RemoteError {
    /// No connection, or the server ended it or the request before the response.
    #[error("cannot reach the API server; check its address, and the network between the clusters")]
    Unreachable,
    /// No response in time.
    #[error("the API server did not respond in time")]
    TimedOut,
    /// The credential is refused: status 401.
    #[error(
        "the API server refuses the credential (401), which is invalid, has expired or was revoked; \
         replace the kubeconfig"
    )]
    Unauthorized,
    /// The request is refused with this HTTP status.
    #[error("the API server refused a request ({0})")]
    Refused(u16),
    /// The TLS handshake failed.
    #[error(
        "the TLS handshake failed: the kubeconfig's authority did not sign the certificate of the \
             API server, or the API server refuses the client certificate"
    )]
    Untrusted,
    /// The response is not one of an API server, or violates HTTP.
    #[error("invalid response; check that the kubeconfig names an API server")]
    BadResponse,
    /// The response exceeds its limit.
    #[error("the response is too large for an API server")]
    TooLarge,
    /// The access is unusable, for this reason.
    #[error("unusable access to the cluster: {0}")]
    BadAccess(&'static str),
}

impl RemoteError {
    /// Returns the error for a response with the status `code`, which is no success.
    pub const fn of_code(code: u16) -> Self {
        match code {
            401 => Self::Unauthorized,
            code => Self::Refused(code),
        }
    }

    /// Returns true if the next request would fail as well.
    pub const fn ends_requests(self) -> bool {
        !matches!(self, Self::Refused(code) if code != 429 && code != 503)
    }

    /// Returns true if another credential may succeed.
    pub const fn refuses_credential(self) -> bool {
        matches!(self, Self::Unauthorized | Self::Refused(403))
    }

    /// Returns true if the API server may accept the same request later: it is overloaded, or lost
    /// its storage.
    pub const fn is_temporary(self) -> bool {
        match self {
            Self::Refused(code) => matches!(code, 408 | 429 | 500..),
            Self::TimedOut | Self::Unreachable => true,
            _ => false,
        }
    }

    /// Returns the kind of an error of the client, by the errors that caused it.
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(kind) = Self::of_one(error) {
                return kind;
            }
            cause = error.source();
        }
        Self::Unreachable
    }

    /// Returns the kind of `error` itself; `None` if its cause decides.
    fn of_one(error: &(dyn Error + 'static)) -> Option<Self> {
        if let Some(known) = error.downcast_ref::<Self>() {
            return Some(*known);
        }
        if error.is::<rustls::Error>() {
            return Some(Self::Untrusted);
        }
        if error.is::<LengthLimitError>() {
            return Some(Self::TooLarge);
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            if let Some(inner) = error.get_ref() {
                let inner: &(dyn Error + 'static) = inner;
                let kind = Self::of(inner);
                if kind != Self::Unreachable {
                    return Some(kind);
                }
            }
            return (error.kind() == ErrorKind::TimedOut).then_some(Self::TimedOut);
        }
        if let Some(error) = error.downcast_ref::<hyper::Error>()
            && error.is_parse()
        {
            return Some(Self::BadResponse);
        }
        // A violation that the client found. A server that ends a request or the connection sends an
        // error, too: an API server does so if a handler fails.
        if error.downcast_ref::<h2::Error>().is_some_and(h2::Error::is_library) {
            return Some(Self::BadResponse);
        }
        // kube wraps the error of a service without naming it as its cause.
        match error.downcast_ref::<kube::Error>() {
            Some(kube::Error::Api(status)) => Some(Self::of_code(status.code)),
            Some(kube::Error::SerdeError(_) | kube::Error::FromUtf8(_)) => Some(Self::BadResponse),
            _ => None,
        }
    }
}

impl From<kube::Error> for RemoteError {
    fn from(error: kube::Error) -> Self {
        Self::of(&error)
    }
}

impl From<crate::error::Error> for RemoteError {
    fn from(error: crate::error::Error) -> Self {
        Self::of(&error)
    }
}
