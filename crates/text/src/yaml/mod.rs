//! YAML as a tree with the byte range and position of every node.
//!
//! Errors contain line and column. Edits replace byte ranges, so no text is printed from the tree.
//! [`print()`] writes values as new documents.
//!
//! Aliases are not expanded, so a document with exponential expansion costs no more than its text.
//!
//! The parser accepts every text that `kubectl` accepts, even if YAML 1.2 forbids it. The module
//! `adapt` lists the differences.

mod adapt;
mod json;
mod print;

use std::{borrow::Cow, collections::HashMap, ops::Range};

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, StructureStyle};

use self::adapt::{Adapted, adapt};
pub use self::print::print;
use crate::position::Position;

/// Limit of nesting, because readers recurse. Manifests are far below it.
const DEPTH_MAX: usize = 128;

/// The number of a node in its [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(usize);

/// All documents of one text.
///
/// ```
/// use image_swap_text::{position::Position, yaml::Tree};
///
/// let text = "spec:\n  image: nginx # web\n";
/// let tree = Tree::parse(text)?;
/// let spec = tree.get(tree.documents[0], "spec").unwrap();
/// let image = tree.get(spec, "image").unwrap();
/// assert_eq!(tree.scalar(image), Some("nginx"));
/// assert_eq!(tree.node(image).place, Position { line: 2, column: 10 });
/// assert_eq!(&text[tree.node(image).range.clone()], "nginx");
/// # Ok::<(), image_swap_text::yaml::Error>(())
/// ```
#[derive(Debug)]
pub struct Tree<'s> {
    source: &'s str,
    nodes: Vec<Node<'s>>,
    /// Root of each document that is not empty, in order.
    pub documents: Vec<NodeId>,
}

/// One node with its position.
#[derive(Debug)]
pub struct Node<'s> {
    /// Kind of the node, with its value or its children.
    pub kind: NodeKind<'s>,
    /// Byte range in the source. Quotes of a scalar are included; anchor and tag are not.
    pub range: Range<usize>,
    /// Position of the first byte.
    pub place: Position,
    /// True if the node has an anchor (`&name`).
    pub anchored: bool,
    /// True if the node has a tag (`!!str`).
    pub tagged: bool,
    /// True inside `[…]` or `{…}`, where more characters need quotes.
    pub in_flow: bool,
}

/// The kind of a node.
#[derive(Debug)]
pub enum NodeKind<'s> {
    /// A scalar with its decoded value and its style.
    Scalar(Cow<'s, str>, Style),
    /// A sequence.
    Sequence(Vec<NodeId>),
    /// A mapping: keys and values, in the order of the text.
    Mapping(Vec<(NodeId, NodeId)>),
    /// An alias (`*name`) with its target.
    Alias(NodeId),
}

/// The style of a scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Plain, without quotes.
    Plain,
    /// Single-quoted, `'…'`.
    SingleQuoted,
    /// Double-quoted, `"…"`.
    DoubleQuoted,
    /// Literal or folded, `|` or `>`.
    Block,
}

/// A position of invalid YAML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {}, column {}: {message}", place.line, place.column)]
pub struct Error {
    /// Position at which parsing stopped.
    pub place: Position,
    /// Reason. Never quotes the text, which may contain a password.
    pub message: String,
}

impl<'s> Tree<'s> {
    /// Reads every document of `source`.
    ///
    /// # Errors
    /// Returns an error for a text that neither YAML 1.2 nor `kubectl` accepts, for an alias
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

    /// Returns the parsed text.
    pub const fn source(&self) -> &'s str {
        self.source
    }

    /// Returns the node `id`, which may be an alias.
    pub fn node(&self, id: NodeId) -> &Node<'s> {
        &self.nodes[id.0]
    }

    /// Returns the target of the alias `id`, or `id` itself for another node.
    pub fn resolve(&self, id: NodeId) -> NodeId {
        match self.node(id).kind {
            // The target of an alias is never an alias: only content has anchors.
            NodeKind::Alias(target) => target,
            _ => id,
        }
    }

    /// Returns the value of the scalar `id`; `None` for another node. Follows aliases.
    pub fn scalar(&self, id: NodeId) -> Option<&str> {
        match &self.node(self.resolve(id)).kind {
            NodeKind::Scalar(value, _) => Some(value),
            _ => None,
        }
    }

    /// Returns true if `id` is an empty plain scalar, `~` or `null`. Follows aliases.
    pub fn is_null(&self, id: NodeId) -> bool {
        match &self.node(self.resolve(id)).kind {
            NodeKind::Scalar(value, Style::Plain) => {
                matches!(value.as_ref(), "" | "~" | "null" | "Null" | "NULL")
            }
            _ => false,
        }
    }

    /// Returns the entries of the mapping `id`; empty for another node. Follows aliases.
    pub fn entries(&self, id: NodeId) -> &[(NodeId, NodeId)] {
        match &self.node(self.resolve(id)).kind {
            NodeKind::Mapping(entries) => entries,
            _ => &[],
        }
    }

    /// Returns the items of the sequence `id`; empty for another node. Follows aliases.
    pub fn items(&self, id: NodeId) -> &[NodeId] {
        match &self.node(self.resolve(id)).kind {
            NodeKind::Sequence(items) => items,
            _ => &[],
        }
    }

    /// Returns the first value of `key` in the mapping `id`; `None` if there is none.
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

    /// Returns true if there is no node.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}

impl NodeId {
    /// Returns the number of the node, an index for tables with an entry for each node.
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

/// The state of parsing.
struct Builder<'s, 'a> {
    tree: Tree<'s>,
    anchors: HashMap<usize, NodeId>,
    open: Vec<OpenCollection>,
    /// Text that is parsed instead of the source; `None` if the source itself is parsed.
    adapted: Option<&'a Adapted>,
    /// Last offset in the source whose position was computed, and this position. The next one is
    /// usually behind it.
    cursor: (usize, Position),
}

impl<'s, 'a> Builder<'s, 'a> {
    fn new(source: &'s str, adapted: Option<&'a Adapted>) -> Self {
        let tree = Tree { source, nodes: Vec::new(), documents: Vec::new() };
        let cursor = (0, Position::START);
        Self { tree, anchors: HashMap::new(), open: Vec::new(), adapted, cursor }
    }

    /// Parses `text`, which is the source or the adapted text. `keep` converts a value of `text` to
    /// a value of the source.
    fn build<'t>(
        mut self,
        text: &'t str,
        keep: impl Fn(Cow<'t, str>) -> Cow<'s, str>,
    ) -> Result<Tree<'s>, Error> {
        // The parser limits the number of comments that it emits.
        let options = granit_parser::options! { emit_comments: false };
        for item in Parser::new_from_str_with_options(text, options) {
            let (event, span) = item.map_err(|error| self.syntax_error(&error))?;
            match event {
                Event::Scalar(value, style, anchor, tag) => {
                    let kind = NodeKind::Scalar(keep(value), style_of(style));
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
                    // An open collection is rejected as a target, so the tree has no cycle.
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

    /// Adds a collection, whose children follow.
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

    /// Adds a node below the innermost open collection. A collection is opened.
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
    /// Returns the byte range of `span` in the source.
    fn range(&self, span: &Span) -> Range<usize> {
        let range = span.byte_range().unwrap_or_default();
        match self.adapted {
            Some(adapted) => adapted.source_of(range.start)..adapted.source_of(range.end),
            None => range,
        }
    }

    /// Returns the position of the start of `span` in the source.
    fn place(&mut self, span: &Span) -> Position {
        match span.start.byte_offset() {
            Some(at) if self.adapted.is_some() => self.place_of(at),
            _ => Position { line: span.start.line(), column: span.start.col() + 1 },
        }
    }

    /// Returns the position in the source of byte `at` of the adapted text.
    fn place_of(&mut self, at: usize) -> Position {
        let at = self.adapted.map_or(at, |adapted| adapted.source_of(at));
        if at < self.cursor.0 {
            self.cursor = (0, Position::START);
        }
        let (from, mut place) = self.cursor;
        for character in self.tree.source.get(from..at).unwrap_or_default().chars() {
            match character {
                '\n' => place = Position { line: place.line + 1, column: 1 },
                // The parser does not count a byte order mark at the start of a text.
                '\u{feff}' if place.column == 1 => {}
                _ => place.column += 1,
            }
        }
        self.cursor = (at, place);
        place
    }

    /// Converts an error of the parser.
    fn syntax_error(&mut self, error: &ScanError) -> Error {
        let marker = error.marker();
        let place = match marker.byte_offset() {
            Some(at) if self.adapted.is_some() => self.place_of(at),
            _ => Position { line: marker.line(), column: marker.col() + 1 },
        };
        Error { place, message: error.info() }
    }
}

/// Converts a style of the parser.
const fn style_of(style: ScalarStyle) -> Style {
    match style {
        ScalarStyle::SingleQuoted => Style::SingleQuoted,
        ScalarStyle::DoubleQuoted => Style::DoubleQuoted,
        ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
        ScalarStyle::Plain => Style::Plain,
    }
}

#[cfg(test)]
mod tests;
