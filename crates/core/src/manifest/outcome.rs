//! The result of rewriting a manifest: what changed, and what stayed although it should not.

use std::{borrow::Cow, fmt};

use image_swap_text::position::Position;

use crate::{reference::ReferenceError, rule::Reason};

/// What became of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewritten<'s> {
    /// The new text: the source itself when nothing changed.
    pub text: Cow<'s, str>,
    /// Every value that was replaced, in the order of the text.
    pub changes: Vec<Change>,
    /// Every image that should have been looked after and was not.
    pub left: Vec<Skipped>,
    /// Every text outside of known image fields that the rules would change.
    pub passed: Vec<Passed>,
    /// Every pod and container that is exempt by an owner, a label or an image, in the order
    /// of the text.
    pub exempt: Vec<ExemptPart>,
    /// True if a document is an object of the API.
    pub is_manifest: bool,
}

/// A pod or container whose images stay without an opt-out of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExemptPart {
    /// The place at which it begins.
    pub place: Position,
    /// The reason, for people.
    pub reason: String,
}

/// An image of a declared registry in a place where images are not looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// The place at which it begins.
    pub place: Position,
    /// The image.
    pub image: String,
    /// The field or text that holds it.
    pub holder: Holder,
}

/// The place of an image that is passed over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Holder {
    /// The value of an environment variable that is called like one.
    #[error("it is in an environment variable; --image-env rewrites it")]
    Env,
    /// An argument that is called like one.
    #[error("it is in an argument; --image-args rewrites it")]
    Argument,
    /// A field that is not known to hold images, as `--image-field` names it.
    #[error("the field is not known to hold an image; --image-field '{0}' rewrites it")]
    Field(String),
    /// Several fields, of which this is one: registry and repository.
    #[error("it is composed of several fields")]
    Parts,
    /// Part of a longer text.
    #[error("it is part of a text")]
    Text,
    /// A document that is no API object.
    #[error("its document has no apiVersion and kind")]
    NoManifest,
}

/// A value that was replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where the value begins, in the source.
    pub place: Position,
    /// Whose image it is; of several that share it, the first.
    pub what: ImageOwner,
    /// The image it was.
    pub from: String,
    /// The image it is now.
    pub to: String,
    /// Why.
    pub reason: Reason,
}

/// An image that stays as it is although its pod is not exempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Where the value begins.
    pub place: Position,
    /// Whose image it is; of several that share it, the first.
    pub what: ImageOwner,
    /// The image.
    pub image: String,
    /// Why it stays.
    pub why: SkipReason,
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

/// Whose image it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageOwner {
    /// The object's kind; `None` in a list whose items do not say it.
    pub kind: Option<String>,
    /// The object's namespace, if it names one.
    pub namespace: Option<String>,
    /// The object's name, or its `generateName`.
    pub name: Option<String>,
    /// The container's name, or `volume:` and the name of the volume.
    pub container: Option<String>,
    /// The field, if it is not the one of a container or volume: a path, `env:` and the name
    /// of a variable, or `args`.
    pub field: Option<String>,
}

/// `Deployment shop/web app`, as far as it is known.
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
