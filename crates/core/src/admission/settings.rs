//! Settings of admission.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{labels, pull_secret::CoveredImages, workload::exempt::Exemptions};

/// The mode of admission.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Pods are patched.
    #[default]
    #[serde(rename = "enforce")]
    Enforce,
    /// No pod is patched and no warning is sent. Audit annotations and counts report the
    /// changes that enforcement would make.
    #[serde(rename = "audit")]
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

/// A text that is not a [`Mode`].
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

/// Settings of admission, configured by the administrator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Mode of admission.
    pub mode: Mode,
    /// Pods with this label set to `disabled` are exempt.
    pub disable_label: String,
    /// Pods and images that are never swapped.
    pub exemptions: Exemptions,
    /// Swapped images that nodes pull with the Secret [`NAME`](crate::pull_secret::NAME). The
    /// Secret is added to new pods with such an image; `None` to add it to no pod.
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
