//! What the operator decides about admission.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{labels, pull_secret::CoveredImages, workload::exempt::Exemptions};

/// Whether pods are changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Pods are patched.
    #[default]
    Enforce,
    /// Nothing is patched and no user is warned; audit annotations and counts say
    /// what would have been.
    Audit,
}

impl Mode {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Audit => "audit",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is no [`Mode`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 'enforce' or 'audit', found '{0}'")]
pub struct UnknownMode(String);

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        [Self::Enforce, Self::Audit]
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or_else(|| UnknownMode(text.to_owned()))
    }
}

/// What the operator decides about admission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether pods are changed.
    pub mode: Mode,
    /// Pods with this label set to `disabled` are left alone.
    pub disable_label: String,
    /// The pods and images that keep their names.
    pub exemptions: Exemptions,
    /// The swapped images that are pulled with the Secret
    /// [`NAME`](crate::pull_secret::NAME), which a new pod with one of
    /// them is given; `None`: no pod is.
    pub pull_secret: Option<CoveredImages>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            disable_label: labels::OPT_OUT.to_owned(),
            exemptions: Exemptions::default(),
            pull_secret: None,
        }
    }
}
