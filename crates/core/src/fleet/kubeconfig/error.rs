//! Reasons to refuse a kubeconfig.

use std::fmt;

use image_swap_text::position::Position;

/// Reason why a kubeconfig is refused. It never quotes a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubeconfigError {
    /// Path of the field, such as `users[0].user.exec`; empty for the whole text.
    pub field: String,
    /// Reason and remedy.
    pub problem: KubeconfigProblem,
}

/// Reason to refuse a field, with its remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KubeconfigProblem {
    /// The text is too large.
    #[error("found {found} bytes, expected at most {max}; keep only the user and cluster in use")]
    TooLarge {
        /// Size in bytes.
        found: usize,
        /// Limit in bytes.
        max: usize,
    },
    /// The text is not UTF-8.
    #[error("invalid UTF-8; store a kubeconfig as text")]
    NotUtf8,
    /// The text is neither YAML nor JSON.
    #[error("invalid YAML at line {}, column {}; correct the syntax", .0.line, .0.column)]
    Syntax(Position),
    /// The text does not have exactly one document.
    #[error("found {0} YAML documents, expected 1; keep one of them")]
    Documents(usize),
    /// A required field is absent or empty.
    #[error("missing; set it")]
    Missing,
    /// A value of another kind.
    #[error("expected {0}, found another kind of value; correct it")]
    Kind(&'static str),
    /// A field or a name that occurs twice.
    #[error("found twice, the second time at line {0}; remove one of them")]
    Twice(usize),
    /// A field that no version of the kubeconfig format has, or that is newer than image-swap.
    #[error("unknown field at line {0}; remove it")]
    Unknown(usize),
    /// A reference without its target.
    #[error("no entry has this name; correct it")]
    Dangling,
    /// A field that is never followed, for this reason and with this remedy.
    #[error("{0}")]
    Refused(&'static str),
    /// An invalid value, with the expectation.
    #[error("expected {0}")]
    Invalid(&'static str),
    /// Invalid base64.
    #[error("invalid base64; encode the PEM text once")]
    Base64,
    /// Invalid PEM, for this reason.
    #[error("invalid PEM: {0}; store the PEM text in base64")]
    Pem(String),
    /// The user has no credential.
    #[error("no credential; set token, or client-certificate-data and client-key-data")]
    NoCredential,
    /// The user has a token and a client certificate.
    #[error("found a token and a client certificate; keep one of them")]
    SeveralCredentials,
}

impl KubeconfigProblem {
    /// Returns the error of the field at `field`.
    pub(super) fn at(self, field: impl Into<String>) -> KubeconfigError {
        KubeconfigError { field: field.into(), problem: self }
    }
}

impl fmt::Display for KubeconfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(formatter, "{}: ", self.field)?;
        }
        self.problem.fmt(formatter)
    }
}

impl std::error::Error for KubeconfigError {}
