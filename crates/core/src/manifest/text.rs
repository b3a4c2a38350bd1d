//! Parsed manifests.

use std::borrow::Cow;

use image_swap_text::yaml::{self, NodeId, NodeKind, Style, Tree};

use super::{Change, ExemptPart, Rewritten, Settings, SkipReason, Skipped, edit, find, passed};
use crate::rule::RuleSet;

/// A parsed text: any number of YAML documents or JSON texts.
#[derive(Debug)]
pub struct Manifest<'s> {
    tree: Tree<'s>,
    is_json: bool,
}

impl<'s> Manifest<'s> {
    /// Parses `source` as JSON if it is valid, otherwise as YAML.
    ///
    /// # Errors
    /// Returns the error if it is neither. For a text that begins like JSON, it is that of the
    /// parser which got further.
    pub fn parse(source: &'s str) -> Result<Self, yaml::Error> {
        let is_blank = |c: char| c == '\u{feff}' || c.is_whitespace();
        let start = source.trim_start_matches(is_blank);
        if !start.starts_with(['{', '[']) {
            return Ok(Self { tree: Tree::parse(source)?, is_json: false });
        }
        let like_json = start[1..].trim_start().starts_with(['"', '{', '[', '}', ']']);
        match Tree::parse_json(source) {
            Ok(tree) => Ok(Self { tree, is_json: true }),
            Err(json) => match Tree::parse(source) {
                Ok(tree) => Ok(Self { tree, is_json: false }),
                Err(yaml) if like_json && json.place > yaml.place => Err(json),
                Err(yaml) => Err(yaml),
            },
        }
    }

    /// Returns true if the text is JSON, whose documents are not separated by `---`.
    pub const fn is_json(&self) -> bool {
        self.is_json
    }

    /// Returns the syntax tree.
    pub const fn tree(&self) -> &Tree<'s> {
        &self.tree
    }

    /// Returns the `functionConfig` of a KRM function's input: the first document, if it is a
    /// `ResourceList` that has one; `None` otherwise.
    pub fn function_config(&self) -> Option<NodeId> {
        let list = *self.tree.documents.first()?;
        let text = |key| self.tree.get(list, key).and_then(|id| self.tree.scalar(id));
        let group = text("apiVersion")?.split_once('/')?.0;
        let is_list = group == "config.kubernetes.io" && text("kind") == Some("ResourceList");
        let config = self.tree.get(list, "functionConfig").filter(|_| is_list)?;
        (!self.tree.is_null(config)).then(|| self.tree.resolve(config))
    }

    /// Rewrites the images by `rules`.
    ///
    /// # Examples
    /// ```
    /// use image_swap_core::{
    ///     manifest::{Manifest, Settings},
    ///     rule::{
    ///         RuleSet,
    ///         parse::{self, MapForm},
    ///     },
    /// };
    ///
    /// let rules = RuleSet::new(parse::rules("quay.io::h.io/q", MapForm::List).0);
    /// let source = "apiVersion: v1\nkind: Pod\nspec: {containers: [{image: quay.io/a/b:1}]} # note\n";
    /// let manifest = Manifest::parse(source).unwrap();
    /// let rewritten = manifest.rewrite(&rules, &Settings::default());
    /// assert_eq!(rewritten.text, source.replace("quay.io/a", "h.io/q/a"));
    /// assert_eq!(rewritten.changes[0].to, "h.io/q/a/b:1");
    /// ```
    pub fn rewrite(&self, rules: &RuleSet, settings: &Settings) -> Rewritten<'s> {
        let source = self.tree.source();
        let mut text = String::new();
        let mut copied = 0;
        let mut changes = Vec::new();
        let mut left = Vec::new();
        let found = find::find(&self.tree, settings);
        let passed = passed::find(&self.tree, &found, rules);
        let is_manifest = found.is_manifest;
        let part = |(id, reason): (&NodeId, &&str)| ExemptPart {
            place: self.tree.node(*id).place,
            reason: (*reason).to_owned(),
        };
        let mut exempt: Vec<ExemptPart> = found.exempt.iter().map(part).collect();
        exempt.sort_unstable_by_key(|it| it.place);
        for found in found.uses {
            let node = self.tree.node(found.node);
            let (place, owner) = (node.place, found.owner);
            let NodeKind::Scalar(value, style) = &node.kind else {
                let raw = source.get(node.range.clone()).unwrap_or_default();
                let reason =
                    if raw.starts_with("{{") { SkipReason::Template } else { SkipReason::NoScalar };
                let image = raw.lines().next().unwrap_or_default().to_owned();
                left.push(Skipped { place, owner, image, reason });
                continue;
            };
            // A template may leave its image to the controller that creates pods of it.
            if value.is_empty() || self.tree.is_null(found.node) {
                continue;
            }
            let image = &value[found.prefix..];
            let swap = if self.is_string(found.node, value, *style) {
                rules.swap(image).map_err(SkipReason::Invalid)
            } else {
                Err(SkipReason::NoString)
            };
            let used_elsewhere = |id| SkipReason::UsedElsewhere(self.tree.node(id).place);
            let obstacle = match &swap {
                Ok(decision) if !decision.changed() => continue,
                Ok(_) if found.exempt => Some(SkipReason::SharedWithExempt),
                _ => found.elsewhere.map(used_elsewhere),
            };
            let from = image.to_string();
            match swap.and_then(|decision| obstacle.map_or(Ok(decision), Err)) {
                Ok(decision) => {
                    let old = (value.as_ref(), found.prefix);
                    let (range, new) =
                        edit::replacement(source, node, *style, old, &decision.image);
                    text.push_str(&source[copied..range.start]);
                    text.push_str(&new);
                    copied = range.end;
                    let to = decision.image.to_string();
                    changes.push(Change { place, owner, from, to, reason: decision.reason });
                }
                Err(reason) => left.push(Skipped { place, owner, image: from, reason }),
            }
        }
        let text = if changes.is_empty() {
            Cow::Borrowed(source)
        } else {
            text.push_str(&source[copied..]);
            Cow::Owned(text)
        };
        Rewritten { text, changes, left, passed, exempt, is_manifest }
    }

    /// Returns true if a scalar is a string to Kubernetes.
    fn is_string(&self, id: NodeId, value: &str, style: Style) -> bool {
        let node = self.tree.node(id);
        if !node.tagged {
            return style != Style::Plain || edit::is_string(value);
        }
        // The tags `!!str` and `!` make a string of any scalar.
        let before = self.tree.source()[..node.range.start].trim_end();
        let without_anchor =
            before.rsplit_once(char::is_whitespace).filter(|(_, last)| last.starts_with('&'));
        let tag = without_anchor.map_or(before, |(rest, _)| rest.trim_end());
        tag.rsplit(char::is_whitespace).next().is_some_and(|tag| matches!(tag, "!!str" | "!"))
    }
}
