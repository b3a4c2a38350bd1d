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
mod role;
mod uses;

use std::{borrow::Cow, fmt};

use crate::reference::ReferenceError;
use crate::rule::{Reason, RuleSet};
use crate::workload;
use crate::yaml::{Kind, NodeId, Place, Style, SyntaxError, Tree};

/// What may be set about rewriting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The label with which a pod opts out, if its value is `disabled`.
    pub disable_label: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { disable_label: workload::DISABLE_LABEL.to_owned() }
    }
}

/// A text that has been read: any number of YAML documents or JSON texts.
#[derive(Debug)]
pub struct Manifest<'s> {
    tree: Tree<'s>,
}

/// What became of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewritten<'s> {
    /// The new text: the source itself when nothing changed.
    pub text: Cow<'s, str>,
    /// Every value that was replaced, in the order of the text.
    pub changes: Vec<Change>,
    /// Every image that should have been looked after and was not.
    pub left: Vec<Left>,
}

/// A value that was replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where the value begins, in the source.
    pub place: Place,
    /// Whose image it is; of several that share it, the first.
    pub what: What,
    /// The image it was.
    pub from: String,
    /// The image it is now.
    pub to: String,
    /// Why.
    pub reason: Reason,
}

/// An image that stays as it is although its pod is not exempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Where the value begins.
    pub place: Place,
    /// Whose image it is; of several that share it, the first.
    pub what: What,
    /// The image.
    pub image: String,
    /// Why it stays.
    pub why: Why,
}

/// Why an image stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is no valid reference.
    Invalid(ReferenceError),
    /// It is a number, a boolean or of a type of its own, and the API takes only strings.
    NoString,
    /// It is anchored, and used here as something else than an image.
    UsedElsewhere(Place),
    /// It is anchored, and also the image of a pod or container that is left alone.
    SharedWithExempt,
}

/// Whose image it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct What {
    /// The object's kind; `None` in a list whose items do not say it.
    pub kind: Option<String>,
    /// The object's namespace, if it names one.
    pub namespace: Option<String>,
    /// The object's name, or its `generateName`.
    pub name: Option<String>,
    /// The container's name, or `volume:` and the name of the volume.
    pub container: Option<String>,
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

impl<'s> Manifest<'s> {
    /// Reads `source`: as JSON if it is that, otherwise as YAML.
    ///
    /// # Errors
    /// If it is neither. Of a text that begins like JSON, the reader that got
    /// further says why.
    pub fn parse(source: &'s str) -> Result<Self, SyntaxError> {
        let is_blank = |c: char| c == '\u{feff}' || c.is_whitespace();
        let start = source.trim_start_matches(is_blank);
        if !start.starts_with(['{', '[']) {
            return Ok(Self { tree: Tree::parse(source)? });
        }
        let like_json = start[1..].trim_start().starts_with(['"', '{', '[', '}', ']']);
        let tree = Tree::parse_json(source).or_else(|json| {
            Tree::parse(source)
                .map_err(|yaml| if like_json && json.place > yaml.place { json } else { yaml })
        })?;
        Ok(Self { tree })
    }

    /// The text as a tree.
    pub const fn tree(&self) -> &Tree<'s> {
        &self.tree
    }

    /// The `functionConfig` of a KRM function's input: the first document, if it
    /// is a `ResourceList` that has one.
    pub fn function_config(&self) -> Option<NodeId> {
        let list = *self.tree.documents.first()?;
        let text = |key| self.tree.get(list, key).and_then(|id| self.tree.scalar(id));
        let group = text("apiVersion")?.split_once('/')?.0;
        let is_list = group == "config.kubernetes.io" && text("kind") == Some("ResourceList");
        let config = self.tree.get(list, "functionConfig").filter(|_| is_list)?;
        (!self.tree.is_null(config)).then(|| self.tree.resolve(config))
    }

    /// Rewrites the images by `rules`.
    pub fn rewrite(&self, rules: &RuleSet, settings: &Settings) -> Rewritten<'s> {
        let source = self.tree.source();
        let mut text = String::new();
        let mut copied = 0;
        let mut changes = Vec::new();
        let mut left = Vec::new();
        for found in uses::find(&self.tree, settings) {
            let node = self.tree.node(found.scalar);
            let Kind::Scalar(image, style) = &node.kind else { continue };
            if self.tree.is_null(found.scalar) {
                continue;
            }
            let (place, what) = (node.place, found.what);
            let swap = if self.is_string(found.scalar, image, *style) {
                rules.swap(image).map_err(Why::Invalid)
            } else {
                Err(Why::NoString)
            };
            let obstacle = match &swap {
                Err(why) => Some(*why),
                Ok(decision) if !decision.changed() => continue,
                Ok(_) if found.exempt => Some(Why::SharedWithExempt),
                Ok(_) => found.elsewhere.map(|id| Why::UsedElsewhere(self.tree.node(id).place)),
            };
            match (swap, obstacle) {
                (Ok(decision), None) => {
                    let (range, new) =
                        edit::replacement(source, node, *style, image, &decision.image);
                    text.push_str(&source[copied..range.start]);
                    text.push_str(&new);
                    copied = range.end;
                    let (from, to) = (image.to_string(), decision.image.to_string());
                    changes.push(Change { place, what, from, to, reason: decision.reason });
                }
                (_, Some(why)) => {
                    left.push(Left { place, what, image: image.to_string(), why });
                }
                (Err(_), None) => {}
            }
        }
        let text = if changes.is_empty() {
            Cow::Borrowed(source)
        } else {
            text.push_str(&source[copied..]);
            Cow::Owned(text)
        };
        Rewritten { text, changes, left }
    }

    /// Whether a scalar is a string to Kubernetes.
    fn is_string(&self, id: NodeId, value: &str, style: Style) -> bool {
        let node = self.tree.node(id);
        if !node.tagged {
            return style != Style::Plain || edit::is_string(value);
        }
        // `!!str`, and `!`, which makes a string of any scalar.
        let before = self.tree.source()[..node.range.start].trim_end();
        let without_anchor =
            before.rsplit_once(char::is_whitespace).filter(|(_, last)| last.starts_with('&'));
        let tag = without_anchor.map_or(before, |(rest, _)| rest.trim_end());
        tag.rsplit(char::is_whitespace).next().is_some_and(|tag| matches!(tag, "!!str" | "!"))
    }
}

/// `Deployment shop/web app`, as far as it is known.
impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.as_deref().unwrap_or("object"))?;
        if let Some(name) = &self.name {
            f.write_str(" ")?;
            if let Some(namespace) = &self.namespace {
                write!(f, "{namespace}/")?;
            }
            f.write_str(name)?;
        }
        match &self.container {
            Some(container) => write!(f, " {container}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(error) => write!(f, "it is no image reference: {error}"),
            Self::NoString => f.write_str("it is not a string; put it in quotes"),
            Self::UsedElsewhere(place) => write!(
                f,
                "it is anchored and also used as something else (line {}, column {})",
                place.line, place.column
            ),
            Self::SharedWithExempt => {
                f.write_str("it is anchored and shared with a container that is left alone")
            }
        }
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
