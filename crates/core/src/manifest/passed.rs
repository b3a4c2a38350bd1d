//! Finds images of declared registries outside of known image fields, so that they are
//! reported.

use std::borrow::Cow;

use image_swap_text::{
    position::Position,
    yaml::{NodeId, NodeKind, Style, Tree},
};

use super::{
    Holder, Passed,
    find::{FoundImages, OnRequest, image_in_argument},
};
use crate::{
    labels,
    rule::{Reason, RuleSet},
};

/// Annotations that repeat a former state of an object.
const REPEATED: [&str; 2] = [labels::ORIGINAL_IMAGES, labels::LAST_APPLIED];

/// Prefixes of images in texts of some tools.
const SCHEMES: [&str; 2] = ["docker://", "oci://"];

/// Finds texts of `tree` that `rules` would change, and that are neither images nor exempt.
pub(super) fn find(tree: &Tree<'_>, found: &FoundImages<'_>, rules: &RuleSet) -> Vec<Passed> {
    let parents = vec![None; tree.len()];
    let mut reader = PassedReader { tree, rules, parents, cursor: (0, Position::START) };
    let mut skipped = vec![false; tree.len()];
    for (id, node) in tree.nodes() {
        if found.skipped.contains(&id) {
            skipped[id.index()..=last_below(tree, id).index()].fill(true);
        }
        match &node.kind {
            NodeKind::Mapping(entries) => {
                for (key, value) in entries {
                    skipped[key.index()] = true;
                    let name = tree.scalar(*key).unwrap_or_default();
                    if REPEATED.contains(&name) {
                        skipped[value.index()] = true;
                    }
                    reader.parents[value.index()] = Some((id, Some(*key)));
                }
            }
            NodeKind::Sequence(items) => {
                for item in items {
                    reader.parents[item.index()] = Some((id, None));
                }
            }
            NodeKind::Scalar(..) | NodeKind::Alias(_) => {}
        }
    }
    for image in &found.uses {
        skipped[image.node.index()] = true;
    }
    let mut passed = Vec::new();
    for (id, node) in tree.nodes().filter(|(id, _)| !skipped[id.index()]) {
        if let NodeKind::Scalar(value, style) = &node.kind {
            let on_request = found.on_request.get(&id).copied();
            reader.read(id, value, *style, on_request, &mut passed);
        }
    }
    passed
}

/// Returns the last node of the subtree of `id`: nodes are in the order of the text.
fn last_below(tree: &Tree<'_>, mut id: NodeId) -> NodeId {
    loop {
        let last = match &tree.node(id).kind {
            NodeKind::Sequence(items) => items.last().copied(),
            NodeKind::Mapping(entries) => entries.last().map(|(_, value)| *value),
            NodeKind::Scalar(..) | NodeKind::Alias(_) => None,
        };
        match last {
            Some(last) => id = last,
            None => return id,
        }
    }
}

struct PassedReader<'t, 's> {
    tree: &'t Tree<'s>,
    rules: &'t RuleSet,
    /// The collection of each node, and its key if that is a mapping.
    parents: Vec<Option<(NodeId, Option<NodeId>)>>,
    /// A byte of the source and its position: texts are visited in order.
    cursor: (usize, Position),
}

impl PassedReader<'_, '_> {
    fn read(
        &mut self,
        id: NodeId,
        value: &str,
        style: Style,
        on_request: Option<OnRequest>,
        passed: &mut Vec<Passed>,
    ) {
        let node = self.tree.node(id);
        let named = match on_request {
            Some(OnRequest::Args) => Some(value[image_in_argument(value).unwrap_or(0)..].into()),
            Some(OnRequest::Env) => Some(value.into()),
            None => self.named_as_image(id, value),
        };
        if let Some(image) = named.filter(|image| self.is_changed(image, true)) {
            let holder = match on_request {
                Some(OnRequest::Env) => Holder::Env,
                Some(OnRequest::Args) => Holder::Argument,
                None if image.as_ref() == value => self.holder(id),
                None => Holder::Parts,
            };
            passed.push(Passed { place: node.place, image: image.into_owned(), holder });
            return;
        }
        let raw = self.tree.source().get(node.range.clone()).unwrap_or_default();
        // With escapes the text differs from its bytes.
        let has_escapes = style == Style::DoubleQuoted && raw.contains('\\');
        let text = if has_escapes { value } else { raw };
        if !text.contains(['/', '\n']) {
            return;
        }
        for (at, token) in tokens(text) {
            if !self.is_changed(token, is_image_line(text, at, token)) {
                continue;
            }
            let place = if has_escapes { node.place } else { self.place(node.range.start + at) };
            let holder = if token == value { self.holder(id) } else { Holder::Text };
            passed.push(Passed { place, image: token.to_owned(), holder });
        }
    }

    /// Returns true if the rules would change `text`. `any` is true for a text that is intended
    /// as an image, and need not have a registry with a rule of its own.
    fn is_changed(&self, text: &str, any: bool) -> bool {
        let first = text.split_once('/').map_or("", |(first, _)| first);
        let names_registry = first.contains(['.', ':']) || first == "localhost";
        let swap = if any || names_registry { self.rules.swap(text).ok() } else { None };
        swap.is_some_and(|swap| swap.changed() && (any || swap.reason == Reason::Rule))
    }

    /// Returns the image that the value `id` is, or is a part of, by its name.
    fn named_as_image<'v>(&self, id: NodeId, value: &'v str) -> Option<Cow<'v, str>> {
        let (collection, key) = self.parents[id.index()]?;
        let Some(key) = key else {
            // An item of `images`.
            let name = self.key_of(collection);
            return (ends_in(name, "images") && value.contains(['/', ':'])).then_some(value.into());
        };
        let name = self.tree.scalar(key).unwrap_or_default();
        if name == "repository" && ends_in(self.key_of(collection), "image") {
            let registry = self.tree.get(collection, "registry");
            let registry = registry.and_then(|id| self.tree.scalar(id)).unwrap_or_default();
            let whole = [registry, "/", value].concat();
            return Some(if registry.is_empty() { value.into() } else { whole.into() });
        }
        // Longer names with this end may refer to a picture.
        let is_named = name.eq_ignore_ascii_case("imageName")
            || ends_in(name, "image") && (name.len() == 5 || value.contains(['/', ':']));
        is_named.then_some(value.into())
    }

    /// Returns the key of the collection `id`; empty for an item of a list.
    fn key_of(&self, id: NodeId) -> &str {
        let key = self.parents[id.index()].and_then(|(_, key)| key);
        key.and_then(|key| self.tree.scalar(key)).unwrap_or_default()
    }

    /// Returns the field of `id`, in the form of `--image-field`.
    fn holder(&self, id: NodeId) -> Holder {
        let mut path = Vec::new();
        let mut at = id;
        let text = |id, key| self.tree.get(id, key).and_then(|id| self.tree.scalar(id));
        loop {
            let Some((collection, key)) = self.parents[at.index()] else {
                return Holder::NoManifest;
            };
            at = collection;
            // Items of a list have no key.
            let Some(key) = key else { continue };
            path.push(self.tree.scalar(key).unwrap_or_default().replace('/', "\\/"));
            if let (Some(api_version), Some(kind)) = (text(at, "apiVersion"), text(at, "kind")) {
                let (group, slash) =
                    api_version.split_once('/').map_or(("", ""), |(group, _)| (group, "/"));
                path.reverse();
                return Holder::Field(format!("{group}{slash}{kind}:{}", path.join("/")));
            }
        }
    }

    /// Returns the position of byte `at` of the source.
    fn place(&mut self, at: usize) -> Position {
        let (from, mut place) =
            if self.cursor.0 <= at { self.cursor } else { (0, Position::START) };
        for character in self.tree.source().get(from..at).unwrap_or_default().chars() {
            if character == '\n' {
                place = Position { line: place.line + 1, column: 1 };
            } else {
                place.column += 1;
            }
        }
        self.cursor = (at, place);
        place
    }
}

fn ends_in(name: &str, end: &str) -> bool {
    let start = name.len().checked_sub(end.len());
    start.and_then(|start| name.get(start..)).is_some_and(|it| it.eq_ignore_ascii_case(end))
}

/// Returns true if `token`, at byte `at` of `text`, is the rest of a line after `image:`. Such
/// lines occur in manifests that are embedded as texts.
fn is_image_line(text: &str, at: usize, token: &str) -> bool {
    let is_mark = |c: char| matches!(c, ' ' | '\t' | '"' | '\'');
    let before = text[..at].trim_end_matches(is_mark);
    let rest = text[at + token.len()..].lines().next().unwrap_or_default();
    let rest = rest.trim_start_matches(|c: char| is_mark(c) || matches!(c, ',' | '}' | ']' | '\r'));
    let is_named = before.ends_with("image:") || before.trim_end_matches(':').ends_with("\"image");
    is_named && (rest.is_empty() || rest.starts_with('#'))
}

/// Returns the parts of `text` with only characters of references, each with its first byte.
fn tokens(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    let mut next = 0;
    text.split_inclusive(move |c| !is_part(c)).filter_map(move |part| {
        let (at, token) = (next, part.trim_end_matches(|c| !is_part(c)));
        next += part.len();
        let scheme = SCHEMES.iter().find(|scheme| token.starts_with(**scheme));
        let at = at + scheme.map_or(0, |scheme| scheme.len());
        let token = scheme.map_or(token, |scheme| &token[scheme.len()..]);
        // A sentence may end after an image.
        let token = token.trim_end_matches(['.', ':', '-', '/', '@']);
        (!token.is_empty() && !token.contains("://")).then_some((at, token))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_have_only_characters_of_references() {
        let found: Vec<_> =
            tokens("see (quay.io/a:1), docker://b.io/c. ä=https://d.io/e").collect();
        assert_eq!(found, [(0, "see"), (5, "quay.io/a:1"), (28, "b.io/c")]);
    }
}
