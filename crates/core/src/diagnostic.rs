//! What there is to say about a declaration: errors that refuse it, warnings
//! that do not.

use std::fmt;

use image_swap_text::position::Position;
use serde::{Deserialize, Serialize};

/// Whether a finding refuses the declaration.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Severity {
    /// The declaration is not used.
    #[default]
    #[serde(rename = "error")]
    Error,
    /// The declaration is used; something in it is probably not meant so.
    #[serde(rename = "warning")]
    Warning,
}

impl Severity {
    /// The name in every output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// What kind of thing a finding is: a stable name for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// A declaration that cannot be read at all, or lacks a key that Palette's format requires.
    Unusable,
    /// A target that no swapped reference could begin with.
    InvalidTarget,
    /// A target whose host is the source of a rule.
    Chain,
    /// A CA certificate that is no longer valid.
    ExpiredCa,
    /// Two sources whose images meet under one target.
    Collision,
    /// A rule that an earlier one always answers for.
    Shadowed,
    /// A rule that can match nothing.
    DeadRule,
    /// A source in a spelling that images do not have.
    SourceSpelling,
    /// Names without a registry, which nodes resolve in a way of their own.
    ShortNames,
    /// A target on another host than DOMAIN.
    OutsideDomain,
    /// A rule that a node's container runtime cannot be told.
    NodeInexpressible,
    /// A declaration that changes no image.
    SilentNoOp,
    /// `INSECURE` beside `CA_CERT`.
    InsecureWithCa,
    /// A credential for a host that nodes speak plain HTTP to.
    CredentialOverHttp,
    /// A target without `http://` on a registry that is declared with it.
    SchemeDiffers,
    /// A password with a line break at its end.
    TrailingNewline,
    /// A line that is no rule; it is skipped.
    UnreadableLine,
    /// A key that means nothing here.
    UnknownKey,
}

impl Code {
    /// The name in every output.
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
            Self::UnreadableLine => "unreadable-line",
            Self::UnknownKey => "unknown-key",
        }
    }
}

/// A finding about a declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether it refuses the declaration.
    pub severity: Severity,
    /// What kind of thing it is.
    pub code: Code,
    /// Where, in the text that [`Self::key`] names.
    pub place: Position,
    /// The key in whose decoded value [`Self::place`] lies; `None`: in the file.
    pub key: Option<&'static str>,
    /// Problem, for people. Never holds a credential.
    pub message: String,
    /// Remedy; [`None`] if there is none.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// A finding in the file at `place`.
    pub fn new(
        severity: Severity,
        code: Code,
        place: Position,
        message: impl Into<String>,
    ) -> Self {
        Self { severity, code, place, key: None, message: message.into(), hint: None }
    }

    /// An error in the file at `place`.
    pub fn error(code: Code, place: Position, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, place, message)
    }

    /// A warning in the file at `place`.
    pub fn warning(code: Code, place: Position, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, place, message)
    }

    /// The same, lying in the decoded value of `key`.
    #[must_use]
    pub fn within(mut self, key: Option<&'static str>) -> Self {
        self.key = key;
        self
    }

    /// The same, with advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Whether it refuses the declaration.
    pub const fn is_error(&self) -> bool {
        matches!(self.severity, Severity::Error)
    }
}

/// One line: `error[chain] line 3, column 7 of MIRROR_REGISTRIES: …; hint`.
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
