//! Manifests: rewrites images in YAML or JSON, and changes no other byte.
//!
//! The text is never printed again. Only the bytes of image values are replaced, so comments,
//! order, quotes, anchors, line ends and unknown fields stay unchanged.
//!
//! [`crate::workload`] has the paths of images in built-in kinds. In all other kinds, lists of
//! containers count anywhere, as in kustomize, and some fields of well-known custom resources.
//! Pods and containers are exempt under the same conditions as in admission. Other texts that
//! look like an image of a declared registry are listed.
//!
//! An anchored value is one text with several uses. It is edited only if every use is an image
//! in scope; otherwise it is reported.

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

/// Settings of rewriting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Label by which a pod opts out, if its value is `disabled`.
    pub disable_label: String,
    /// Fields that contain images, besides the known ones.
    pub image_fields: Vec<FieldSpec>,
    /// True if environment variables called `RELATED_IMAGE_…`, `IMAGE_…` or `…_IMAGE` contain
    /// images.
    pub env: bool,
    /// True if arguments called `--…image` contain images.
    pub args: bool,
    /// Pods and images that are never swapped.
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
