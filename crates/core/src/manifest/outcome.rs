//! The result of rewriting a manifest: changes, and reasons for unchanged images.

use std::{borrow::Cow, fmt};

use image_swap_text::position::Position;

use crate::{reference::ReferenceError, rule::Reason};

/// A rewritten manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewritten<'s> {
    /// The new text; the source itself if nothing changed.
    pub text: Cow<'s, str>,
    /// Every replaced value, in the order of the text.
    pub changes: Vec<Change>,
    /// Every image in scope that could not be checked or replaced.
    pub left: Vec<Skipped>,
    /// Every text outside of known image fields that the rules would change.
    pub passed: Vec<Passed>,
    /// Every pod and container that is exempt by an owner, a label or an image, in the order
    /// of the text.
    pub exempt: Vec<ExemptPart>,
    /// True if a document is an object of the API.
    pub is_manifest: bool,
}

/// A pod or container that is exempt without an opt-out of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExemptPart {
    /// The place at which it begins.
    pub place: Position,
    /// The reason, as a message.
    pub reason: String,
}

/// An image of a declared registry outside of known image fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// The place at which it begins.
    pub place: Position,
    /// The image.
    pub image: String,
    /// Field or text that contains the image.
    pub holder: Holder,
}

/// The position of such an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Holder {
    /// The value of an environment variable with the name of an image.
    #[error("it is in an environment variable; --image-env rewrites it")]
    Env,
    /// An argument with the name of an image.
    #[error("it is in an argument; --image-args rewrites it")]
    Argument,
    /// A field that is not known to contain images, in the form of `--image-field`.
    #[error("the field is not known to hold an image; --image-field '{0}' rewrites it")]
    Field(String),
    /// One of several fields that compose an image, such as registry and repository.
    #[error("it is composed of several fields")]
    Parts,
    /// Part of a longer text.
    #[error("it is part of a text")]
    Text,
    /// A document that is no API object.
    #[error("its document has no apiVersion and kind")]
    NoManifest,
}

/// A replaced value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Position of the value in the source.
    pub place: Position,
    /// Owner of the image; of several owners, the first.
    pub owner: ImageOwner,
    /// The original image.
    pub from: String,
    /// The new image.
    pub to: String,
    /// Reason of the decision.
    pub reason: Reason,
}

/// An unchanged image whose pod is not exempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Position of the value.
    pub place: Position,
    /// Owner of the image; of several owners, the first.
    pub owner: ImageOwner,
    /// The image.
    pub image: String,
    /// Reason for which it is unchanged.
    pub reason: SkipReason,
}

/// The reason for which an image is not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SkipReason {
    /// An unquoted template, which YAML reads as a mapping.
    #[error(
        "it is an unquoted template, which YAML reads as a mapping; render it first, for example \
         with `helm template`"
    )]
    Template,
    /// A mapping or a list, where the API takes only strings.
    #[error("it is a mapping or a list, not a string")]
    NoScalar,
    /// The text is an invalid reference.
    #[error("invalid image reference: {0}")]
    Invalid(ReferenceError),
    /// A number, a boolean or a value with its own tag, where the API takes only strings.
    #[error("it is not a string; put it in quotes")]
    NoString,
    /// An anchored value that is also used for another purpose at this position.
    #[error(
        "its anchor is also used for another purpose (line {}, column {})",
        .0.line, .0.column
    )]
    UsedElsewhere(Position),
    /// An anchored value that is also the image of an exempt pod or container.
    #[error("its anchor is shared with an exempt container")]
    SharedWithExempt,
}

/// The owner of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageOwner {
    /// Kind of the object; `None` in a list whose items have none.
    pub kind: Option<String>,
    /// Namespace of the object; `None` if the manifest has none.
    pub namespace: Option<String>,
    /// Name of the object, or its `generateName`; `None` if it has neither.
    pub name: Option<String>,
    /// Name of the container, or `volume:` and the name of the volume; `None` if it has none.
    pub container: Option<String>,
    /// Field, unless it is that of a container or volume: a path, `env:` and the name of a
    /// variable, or `args`.
    pub field: Option<String>,
}

/// Formats `Deployment shop/web app`; unknown parts are left out.
impl fmt::Display for ImageOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.as_deref().unwrap_or("object"))?;
        if let Some(name) = &self.name {
            f.write_str(" ")?;
            if let Some(namespace) = &self.namespace {
                write!(f, "{namespace}/")?;
            }
            f.write_str(name)?;
        }
        let rest = [&self.container, &self.field].into_iter().flatten();
        rest.into_iter().try_for_each(|part| write!(f, " {part}"))
    }
}
