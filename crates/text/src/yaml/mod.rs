//! YAML as a tree with the bytes and the position of every node.
//!
//! Errors name line and column, and edits replace byte ranges: no text is printed from the tree.
//! Aliases stay aliases, so a document that multiplies itself costs nothing.
//!
//! The parser reads every text that `kubectl` reads, also if YAML 1.2 forbids it: see `adapt`.

mod adapt;
mod json;

use std::{borrow::Cow, collections::HashMap, ops::Range};

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, StructureStyle};

use self::adapt::{Adapted, adapt};
use crate::position::Position;

/// The limit of nesting: no manifest comes near it, and readers recurse.
const DEPTH_MAX: usize = 128;

/// The number of a node in its [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(usize);

/// All documents of one text.
#[derive(Debug)]
pub struct Tree<'s> {
    source: &'s str,
    nodes: Vec<Node<'s>>,
    /// The root of each document that has one, in order.
    pub documents: Vec<NodeId>,
}

/// One node with its position.
#[derive(Debug)]
pub struct Node<'s> {
    /// The kind, with its value or its children.
    pub kind: NodeKind<'s>,
    /// The bytes in the source: of a scalar, the value with quotes, without anchor and tag.
    pub range: Range<usize>,
    /// The position of the first byte.
    pub place: Position,
    /// True if an anchor (`&name`) is before it.
    pub anchored: bool,
    /// True if a tag (`!!str`) is before it.
    pub tagged: bool,
    /// True inside `[…]` or `{…}`, where more characters need quotes.
    pub in_flow: bool,
}

/// The kind of a node.
#[derive(Debug)]
pub enum NodeKind<'s> {
    /// A scalar: its value after escapes, and its style.
    Scalar(Cow<'s, str>, Style),
    /// A sequence.
    Sequence(Vec<NodeId>),
    /// A mapping, in the order of the text.
    Mapping(Vec<(NodeId, NodeId)>),
    /// A use of an anchored node.
    Alias(NodeId),
}

/// The style of a scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Without quotes.
    Plain,
    /// `'…'`
    SingleQuoted,
    /// `"…"`
    DoubleQuoted,
    /// `|` or `>`
    Block,
}

/// A position of invalid YAML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {}, column {}: {message}", place.line, place.column)]
pub struct Error {
    /// The position at which parsing stopped.
    pub place: Position,
    /// The reason. Never contains the text itself, which may hold a password.
    pub message: String,
}

impl<'s> Tree<'s> {
    /// Reads every document of `source`.
    ///
    /// # Errors
    /// Returns an error for a text that is neither YAML 1.2 nor read by `kubectl`, for an alias
    /// without its anchor, and for nesting deeper than 128.
    pub fn parse(source: &'s str) -> Result<Self, Error> {
        let error = match Builder::new(source, None).build(source, |value| value) {
            Ok(tree) => return Ok(tree),
            Err(error) => error,
        };
        let Some(adapted) = adapt(source) else { return Err(error) };
        let owned = |value: Cow<'_, str>| Cow::Owned(adapted.value_of(&value));
        Builder::new(source, Some(&adapted)).build(&adapted.text, owned)
    }

    /// Returns the text of the tree.
    pub const fn source(&self) -> &'s str {
        self.source
    }

    /// Returns the node `id`, which may be an alias.
    pub fn node(&self, id: NodeId) -> &Node<'s> {
        &self.nodes[id.0]
    }

    /// Returns the node `id`, or the target of its alias.
    pub fn resolve(&self, id: NodeId) -> NodeId {
        match self.node(id).kind {
            // The target of an alias is never an alias: only content has anchors.
            NodeKind::Alias(target) => target,
            _ => id,
        }
    }

    /// Returns the value of the scalar `id`, aliases followed.
    pub fn scalar(&self, id: NodeId) -> Option<&str> {
        match &self.node(self.resolve(id)).kind {
            NodeKind::Scalar(value, _) => Some(value),
            _ => None,
        }
    }

    /// True if `id` is an empty plain scalar, `~` or `null`.
    pub fn is_null(&self, id: NodeId) -> bool {
        match &self.node(self.resolve(id)).kind {
            NodeKind::Scalar(value, Style::Plain) => {
                matches!(value.as_ref(), "" | "~" | "null" | "Null" | "NULL")
            }
            _ => false,
        }
    }

    /// Returns the entries of the mapping `id`, aliases followed; empty if it is no mapping.
    pub fn entries(&self, id: NodeId) -> &[(NodeId, NodeId)] {
        match &self.node(self.resolve(id)).kind {
            NodeKind::Mapping(entries) => entries,
            _ => &[],
        }
    }

    /// Returns the items of the sequence `id`, aliases followed; empty if it is no sequence.
    pub fn items(&self, id: NodeId) -> &[NodeId] {
        match &self.node(self.resolve(id)).kind {
            NodeKind::Sequence(items) => items,
            _ => &[],
        }
    }

    /// Returns the value of `key` in the mapping `id`.
    pub fn get(&self, id: NodeId, key: &str) -> Option<NodeId> {
        self.entries(id).iter().find(|(k, _)| self.scalar(*k) == Some(key)).map(|(_, v)| *v)
    }

    /// Iterates over all nodes, in the order of the text.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node<'s>)> {
        self.nodes.iter().enumerate().map(|(index, node)| (NodeId(index), node))
    }

    /// Returns the number of nodes. Every [`NodeId::index`] is below it.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// True if there is no node.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}

impl NodeId {
    /// Returns the number, for tables beside the tree.
    pub const fn index(self) -> usize {
        self.0
    }
}

/// A collection whose end has not been read yet.
struct OpenCollection {
    id: NodeId,
    key: Option<NodeId>,
    in_flow: bool,
}

struct Builder<'s, 'a> {
    tree: Tree<'s>,
    anchors: HashMap<usize, NodeId>,
    open: Vec<OpenCollection>,
    /// The text that is parsed instead of the source, if any.
    adapted: Option<&'a Adapted>,
    /// A byte of the source and its position. Positions are computed nearly in the order of the text.
    cursor: (usize, Position),
}

impl<'s, 'a> Builder<'s, 'a> {
    fn new(source: &'s str, adapted: Option<&'a Adapted>) -> Self {
        let tree = Tree { source, nodes: Vec::new(), documents: Vec::new() };
        let cursor = (0, Position::START);
        Self { tree, anchors: HashMap::new(), open: Vec::new(), adapted, cursor }
    }

    /// Reads `text`, which is the source or the adapted one. `keep` makes a value one of the tree's.
    fn build<'t>(
        mut self,
        text: &'t str,
        keep: impl Fn(Cow<'t, str>) -> Cow<'s, str>,
    ) -> Result<Tree<'s>, Error> {
        // The parser limits the number of comments that it emits.
        let options = granit_parser::options! { emit_comments: false };
        for item in Parser::new_from_str_with_options(text, options) {
            let (event, span) = item.map_err(|error| self.refused(&error))?;
            match event {
                Event::Scalar(value, style, anchor, tag) => {
                    let kind = NodeKind::Scalar(keep(value), written(style));
                    self.add(kind, &span, anchor, tag.is_some(), false);
                }
                Event::SequenceStart(style, anchor, tag) => {
                    let kind = NodeKind::Sequence(Vec::new());
                    self.begin(kind, &span, anchor, tag.is_some(), style)?;
                }
                Event::MappingStart(style, anchor, tag) => {
                    let kind = NodeKind::Mapping(Vec::new());
                    self.begin(kind, &span, anchor, tag.is_some(), style)?;
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    let end = self.range(&span).end;
                    if let Some(open) = self.open.pop() {
                        let range = &mut self.tree.nodes[open.id.0].range;
                        range.end = end.max(range.start);
                    }
                }
                Event::Alias(anchor) => {
                    // An open collection is no target: the tree has no cycle.
                    let target = self.anchors.get(&anchor).copied();
                    let closed = |id: &NodeId| self.open.iter().all(|open| open.id != *id);
                    let Some(target) = target.filter(closed) else {
                        return Err(Error {
                            place: self.place(&span),
                            message: "the alias is inside the collection that it refers to"
                                .to_owned(),
                        });
                    };
                    self.add(NodeKind::Alias(target), &span, 0, false, false);
                }
                Event::DocumentStart(..) => self.anchors.clear(),
                _ => {}
            }
        }
        Ok(self.tree)
    }

    fn begin(
        &mut self,
        kind: NodeKind<'s>,
        span: &Span,
        anchor: usize,
        tagged: bool,
        style: StructureStyle,
    ) -> Result<(), Error> {
        if self.open.len() == DEPTH_MAX {
            return Err(Error {
                place: self.place(span),
                message: format!("expected at most {DEPTH_MAX} levels, found more"),
            });
        }
        self.add(kind, span, anchor, tagged, style == StructureStyle::Flow);
        Ok(())
    }

    /// Adds a node below the innermost open collection, and opens a collection.
    fn add(
        &mut self,
        kind: NodeKind<'s>,
        span: &Span,
        anchor: usize,
        tagged: bool,
        opens_flow: bool,
    ) {
        let id = NodeId(self.tree.nodes.len());
        let in_flow = self.open.last().is_some_and(|open| open.in_flow);
        let opens = matches!(kind, NodeKind::Sequence(_) | NodeKind::Mapping(_));
        let (range, place) = (self.range(span), self.place(span));
        self.tree.nodes.push(Node { kind, range, place, anchored: anchor != 0, tagged, in_flow });
        match self.open.last_mut() {
            None => self.tree.documents.push(id),
            Some(open) => match (&mut self.tree.nodes[open.id.0].kind, open.key.take()) {
                (NodeKind::Sequence(items), _) => items.push(id),
                (NodeKind::Mapping(entries), Some(key)) => entries.push((key, id)),
                (NodeKind::Mapping(_), None) => open.key = Some(id),
                (NodeKind::Scalar(..) | NodeKind::Alias(_), _) => {}
            },
        }
        if anchor != 0 {
            self.anchors.insert(anchor, id);
        }
        if opens {
            self.open.push(OpenCollection { id, key: None, in_flow: in_flow || opens_flow });
        }
    }
}

impl Builder<'_, '_> {
    /// Returns the bytes of the source that `span` covers.
    fn range(&self, span: &Span) -> Range<usize> {
        let range = span.byte_range().unwrap_or_default();
        match self.adapted {
            Some(adapted) => adapted.source_of(range.start)..adapted.source_of(range.end),
            None => range,
        }
    }

    /// Returns the place in the source at which `span` begins.
    fn place(&mut self, span: &Span) -> Position {
        match span.start.byte_offset() {
            Some(at) if self.adapted.is_some() => self.place_of(at),
            _ => Position { line: span.start.line(), column: span.start.col() + 1 },
        }
    }

    /// Returns the place in the source of byte `at` of an adapted text.
    fn place_of(&mut self, at: usize) -> Position {
        let at = self.adapted.map_or(at, |adapted| adapted.source_of(at));
        if at < self.cursor.0 {
            self.cursor = (0, Position::START);
        }
        let (from, mut place) = self.cursor;
        for character in self.tree.source.get(from..at).unwrap_or_default().chars() {
            match character {
                '\n' => place = Position { line: place.line + 1, column: 1 },
                // The parser does not count the one at the start of a text.
                '\u{feff}' if place.column == 1 => {}
                _ => place.column += 1,
            }
        }
        self.cursor = (at, place);
        place
    }

    fn refused(&mut self, error: &ScanError) -> Error {
        let marker = error.marker();
        let place = match marker.byte_offset() {
            Some(at) if self.adapted.is_some() => self.place_of(at),
            _ => Position { line: marker.line(), column: marker.col() + 1 },
        };
        Error { place, message: error.info() }
    }
}

const fn written(style: ScalarStyle) -> Style {
    match style {
        ScalarStyle::SingleQuoted => Style::SingleQuoted,
        ScalarStyle::DoubleQuoted => Style::DoubleQuoted,
        ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
        ScalarStyle::Plain => Style::Plain,
    }
}

#[cfg(test)]
mod tests;
