//! Manifests: images rewritten in YAML or JSON, and nothing else touched.
//!
//! The text is not printed anew: only the bytes of image values are replaced,
//! so comments, order, quotes, anchors, line ends and unknown fields stay as
//! they are. [`crate::workload`] knows where the images of built-in kinds are. In any other
//! kind lists of containers count wherever they are, as in kustomize, and some fields of
//! well-known custom resources. Pods and containers are exempt as they are in admission.
//! Other texts that look like an image of a declared registry are listed.
//!
//! An anchored value is one text with several uses. It is edited only if every
//! use of it is an image that is swapped; otherwise it is reported.

mod edit;
mod field;
mod fields;
mod find;
mod join;
mod known;
mod outcome;
mod passed;
mod role;
mod text;

pub(crate) use self::edit::is_string;
pub use self::{
    field::{FieldSpec, InvalidFieldSpec},
    join::ManifestStream,
    outcome::{Change, ExemptPart, Holder, ImageOwner, Passed, Rewritten, SkipReason, Skipped},
    text::Manifest,
};
use crate::{labels, workload};

/// What may be set about rewriting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The label with which a pod opts out, if its value is `disabled`.
    pub disable_label: String,
    /// Fields that hold images, beside those that are known.
    pub image_fields: Vec<FieldSpec>,
    /// True if environment variables that are called `RELATED_IMAGE_…`, `IMAGE_…` or `…_IMAGE`
    /// hold images.
    pub env: bool,
    /// True if arguments that are called `--…image` hold images.
    pub args: bool,
    /// The pods and images that keep their names.
    pub exemptions: workload::exempt::Exemptions,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            disable_label: labels::OPT_OUT.to_owned(),
            image_fields: Vec::new(),
            env: false,
            args: false,
            exemptions: workload::exempt::Exemptions::default(),
        }
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
