//! Diagnostics about a declaration. An error rejects it; a warning does not.

use std::fmt;

use image_swap_text::position::Position;
use serde::{Deserialize, Serialize};

/// Severity of a diagnostic.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Severity {
    /// The declaration is rejected.
    #[default]
    #[serde(rename = "error")]
    Error,
    /// The declaration is used; a part of it probably has another effect than intended.
    #[serde(rename = "warning")]
    Warning,
}

impl Severity {
    /// Returns the name in every output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// Kind of a diagnostic: a stable name for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// Unreadable declaration, or one that lacks a key that Palette's format requires.
    Unusable,
    /// Target that no valid reference can begin with.
    InvalidTarget,
    /// Target whose host is the source of a rule.
    Chain,
    /// Expired CA certificate.
    ExpiredCa,
    /// Two sources whose images can get the same name under one target.
    Collision,
    /// Rule without effect, because an earlier one always takes precedence.
    Shadowed,
    /// Rule that no image can match.
    DeadRule,
    /// Source in another spelling than that of images.
    SourceSpelling,
    /// Names without a registry, which some container runtimes resolve in another way.
    ShortNames,
    /// Target on another host than DOMAIN.
    OutsideDomain,
    /// Rule that the configuration of a node's container runtime cannot express.
    NodeInexpressible,
    /// Declaration that changes no image.
    SilentNoOp,
    /// `INSECURE` together with `CA_CERT`.
    InsecureWithCa,
    /// Credential for a host that nodes reach by plain HTTP.
    CredentialOverHttp,
    /// Target without `http://` on a registry that is declared with it.
    SchemeDiffers,
    /// Password with a line break at its end.
    TrailingNewline,
    /// Password without a user name.
    PasswordWithoutUsername,
    /// Line with an invalid rule, which is skipped.
    UnreadableLine,
    /// Unknown key, which is ignored.
    UnknownKey,
}

impl Code {
    /// Returns the name in every output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unusable => "unusable",
            Self::InvalidTarget => "invalid-target",
            Self::Chain => "chain",
            Self::ExpiredCa => "expired-ca",
            Self::Collision => "collision",
            Self::Shadowed => "shadowed",
            Self::DeadRule => "dead-rule",
            Self::SourceSpelling => "source-spelling",
            Self::ShortNames => "short-names",
            Self::OutsideDomain => "outside-domain",
            Self::NodeInexpressible => "node-inexpressible",
            Self::SilentNoOp => "silent-no-op",
            Self::InsecureWithCa => "insecure-with-ca",
            Self::CredentialOverHttp => "credential-over-http",
            Self::SchemeDiffers => "scheme-differs",
            Self::TrailingNewline => "trailing-newline",
            Self::PasswordWithoutUsername => "password-without-username",
            Self::UnreadableLine => "unreadable-line",
            Self::UnknownKey => "unknown-key",
        }
    }
}

/// An error or a warning about a declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Severity; an error rejects the declaration.
    pub severity: Severity,
    /// Kind of the problem.
    pub code: Code,
    /// Position in the text that [`Self::key`] names.
    pub place: Position,
    /// Key whose decoded value contains [`Self::place`]; `None` for a position in the file.
    pub key: Option<&'static str>,
    /// Description of the problem. Never contains a credential.
    pub message: String,
    /// Remedy; `None` if there is none.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// Creates a diagnostic of the file at `place`.
    pub fn new(
        severity: Severity,
        code: Code,
        place: Position,
        message: impl Into<String>,
    ) -> Self {
        Self { severity, code, place, key: None, message: message.into(), hint: None }
    }

    /// Creates an error in the file at `place`.
    pub fn error(code: Code, place: Position, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, place, message)
    }

    /// Creates a warning in the file at `place`.
    pub fn warning(code: Code, place: Position, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, place, message)
    }

    /// Moves the position into the decoded value of `key`.
    #[must_use]
    pub fn within(mut self, key: Option<&'static str>) -> Self {
        self.key = key;
        self
    }

    /// Sets the remedy.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Returns true if this diagnostic rejects the declaration.
    pub const fn is_error(&self) -> bool {
        matches!(self.severity, Severity::Error)
    }
}

/// Formats one line: `error[chain] line 3, column 7 of MIRROR_REGISTRIES: …; hint`.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { line, column } = self.place;
        write!(
            f,
            "{}[{}] line {line}, column {column}",
            self.severity.as_str(),
            self.code.as_str()
        )?;
        if let Some(key) = self.key {
            write!(f, " of {key}")?;
        }
        write!(f, ": {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}
