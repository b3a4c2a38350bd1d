//! Manifests: images rewritten in YAML or JSON, and nothing else touched.
//!
//! The text is not printed anew: only the bytes of image values are replaced,
//! so comments, order, quotes, anchors, line ends and unknown fields stay as
//! they are. Where the images are is [`crate::workload`]'s knowledge; the same
//! pods and containers are left alone that admission leaves alone.
//!
//! An anchored value is one text with several uses. It is edited only if every
//! use of it is an image that is swapped; otherwise it is reported.

mod edit;
mod fields;
mod join;
mod outcome;
mod role;
mod text;
mod uses;

pub use self::{
    join::Joined,
    outcome::{Change, Left, Rewritten, What, Why},
    text::Manifest,
};
use crate::{rule::RuleSet, workload, yaml::SyntaxError};

/// What may be set about rewriting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The label with which a pod opts out, if its value is `disabled`.
    pub disable_label: String,
    /// The pods and images that keep their names.
    pub exemptions: workload::exempt::Exemptions,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            disable_label: workload::DISABLE_LABEL.to_owned(),
            exemptions: workload::exempt::Exemptions::default(),
        }
    }
}

/// Rewrites the images in `source` by `rules`.
///
/// # Errors
/// If `source` is neither YAML nor JSON.
pub fn rewrite<'s>(
    source: &'s str,
    rules: &RuleSet,
    settings: &Settings,
) -> Result<Rewritten<'s>, SyntaxError> {
    Ok(Manifest::parse(source)?.rewrite(rules, settings))
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
