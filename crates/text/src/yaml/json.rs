//! JSON texts as a YAML tree.
//!
//! YAML 1.2 is intended as a superset of JSON, but YAML parsers reject some JSON that `kubectl`
//! reads and writes. Examples are a DEL in a string, a name of more than 1024 characters, and two
//! texts in a row.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use super::{DEPTH_MAX, Error, Node, NodeId, NodeKind, Position, Style, Tree};

const BOM: char = '\u{feff}';

impl<'s> Tree<'s> {
    /// Reads every JSON text of `source`, one or several in a row. Each text is a document.
    ///
    /// # Errors
    /// Returns an error for invalid JSON (RFC 8259), and for nesting deeper than 128.
    pub fn parse_json(source: &'s str) -> Result<Self, Error> {
        let start = source.len() - source.trim_start_matches(BOM).len();
        let mut walker = Walker {
            tree: Tree { source, nodes: Vec::new(), documents: Vec::new() },
            at: start,
            cursor: (start, Position { line: 1, column: 1 }),
        };
        // serde_json checks the grammar; the walker finds the bytes.
        for text in serde_json::Deserializer::from_str(&source[start..]).into_iter::<IgnoredAny>() {
            text.map_err(|error| syntax_error(&source[start..], &error))?;
        }
        while walker.peek().is_some() {
            let id = walker.value(0)?;
            walker.tree.documents.push(id);
        }
        Ok(walker.tree)
    }
}

/// Converts an error of `serde_json` in `source`. The column becomes one in characters.
fn syntax_error(source: &str, error: &serde_json::Error) -> Error {
    let line = source.split('\n').nth(error.line().saturating_sub(1)).unwrap_or("");
    let before = line.get(..error.column()).unwrap_or(line);
    // The message ends with the position, which has its own field.
    let message = error.to_string();
    let message = message.rsplit_once(" at line ").map_or(&*message, |(message, _)| message);
    Error {
        place: Position { line: error.line().max(1), column: before.chars().count().max(1) },
        message: message.to_owned(),
    }
}

/// A parser of a text whose grammar has already been checked.
struct Walker<'s> {
    tree: Tree<'s>,
    /// Offset of the current byte.
    at: usize,
    /// Last offset whose position was computed, and this position. The next one is behind it.
    cursor: (usize, Position),
}

impl<'s> Walker<'s> {
    /// Skips white space, and returns the next byte; `None` at the end.
    fn peek(&mut self) -> Option<u8> {
        let rest = &self.tree.source.as_bytes()[self.at..];
        self.at += rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.tree.source.as_bytes().get(self.at).copied()
    }

    /// Skips the next byte if it is `byte`. Returns false if it is another one.
    fn skip(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    /// Reads a value at nesting `depth`, and returns its node.
    fn value(&mut self, depth: usize) -> Result<NodeId, Error> {
        let first = self.peek();
        let start = self.at;
        let id = NodeId(self.tree.nodes.len());
        let place = self.place();
        // The node is added before its children, so that its number is lower.
        self.tree.nodes.push(Node {
            kind: NodeKind::Sequence(Vec::new()),
            range: start..start,
            place,
            anchored: false,
            tagged: false,
            in_flow: depth > 0,
        });
        if depth == DEPTH_MAX && matches!(first, Some(b'{' | b'[')) {
            return Err(fail(place, &format!("expected at most {DEPTH_MAX} levels, found more")));
        }
        let kind = match first {
            Some(b'{') => {
                self.at += 1;
                let mut entries = Vec::new();
                while !self.skip(b'}') {
                    let key = self.value(depth + 1)?;
                    self.skip(b':');
                    entries.push((key, self.value(depth + 1)?));
                    self.skip(b',');
                }
                NodeKind::Mapping(entries)
            }
            Some(b'[') => {
                self.at += 1;
                let mut items = Vec::new();
                while !self.skip(b']') {
                    items.push(self.value(depth + 1)?);
                    self.skip(b',');
                }
                NodeKind::Sequence(items)
            }
            Some(b'"') => NodeKind::Scalar(self.string(place)?, Style::DoubleQuoted),
            Some(_) => {
                let rest = &self.tree.source[start..];
                let end = rest.find(|c: char| c.is_ascii_whitespace() || ",:]}[{\"".contains(c));
                let literal = &rest[..end.unwrap_or(rest.len()).max(1)];
                self.at += literal.len();
                NodeKind::Scalar(Cow::Borrowed(literal), Style::Plain)
            }
            None => return Err(fail(place, "expected a value, found the end")),
        };
        let node = &mut self.tree.nodes[id.0];
        node.kind = kind;
        node.range.end = self.at;
        Ok(id)
    }

    /// Reads the string at the current byte.
    fn string(&mut self, place: Position) -> Result<Cow<'s, str>, Error> {
        let rest = &self.tree.source[self.at..];
        let mut escaped = false;
        let end = rest.bytes().skip(1).position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        });
        let Some(end) = end else {
            return Err(fail(place, "expected the '\"' that ends the string, found the end"));
        };
        self.at += end + 2;
        let inner = &rest[1..=end];
        if !inner.contains('\\') {
            return Ok(Cow::Borrowed(inner));
        }
        serde_json::from_str(&rest[..end + 2]).map(Cow::Owned).map_err(|_| {
            fail(place, "expected an escaped surrogate pair, found one half in this string")
        })
    }

    /// Returns the position of the current byte.
    fn place(&mut self) -> Position {
        let (from, mut place) = self.cursor;
        for character in self.tree.source[from..self.at].chars() {
            if character == '\n' {
                place = Position { line: place.line + 1, column: 1 };
            } else {
                place.column += 1;
            }
        }
        self.cursor = (self.at, place);
        place
    }
}

fn fail(place: Position, message: &str) -> Error {
    Error { place, message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw<'s>(tree: &Tree<'s>, id: NodeId) -> &'s str {
        &tree.source()[tree.node(id).range.clone()]
    }

    #[test]
    fn values_have_bytes_and_positions() {
        let text = "\u{feff}{\r\n\t\"ä\": [1.5e3, null , \"b\\/c\"],\"ö\":{}}";
        let tree = Tree::parse_json(text).unwrap();
        let list = tree.get(tree.documents[0], "ä").unwrap();
        let found: Vec<_> = tree.items(list).iter().map(|id| raw(&tree, *id)).collect();
        assert_eq!(found, ["1.5e3", "null", "\"b\\/c\""]);
        assert_eq!(tree.scalar(tree.items(list)[2]), Some("b/c"));
        assert_eq!(tree.node(tree.items(list)[2]).place, Position { line: 2, column: 22 });
        assert_eq!(raw(&tree, list), "[1.5e3, null , \"b\\/c\"]");
        assert_eq!(raw(&tree, tree.get(tree.documents[0], "ö").unwrap()), "{}");
    }

    #[test]
    fn texts_in_a_row_are_documents() {
        let tree = Tree::parse_json("{\"a\":1}{\"b\":2}\n[3]").unwrap();
        let found: Vec<_> = tree.documents.iter().map(|id| raw(&tree, *id)).collect();
        assert_eq!(found, ["{\"a\":1}", "{\"b\":2}", "[3]"]);
    }

    #[test]
    fn json_that_yaml_rejects_is_read() {
        let long = "k".repeat(2000);
        let text = format!("{{\"{long}\":\"\u{7f}\",\"p\":\"\\ud83d\\ude00\\\\\"}}");
        assert!(Tree::parse(&text).is_err(), "the YAML parser rejects this text");
        let tree = Tree::parse_json(&text).unwrap();
        let get = |key| tree.get(tree.documents[0], key).and_then(|id| tree.scalar(id));
        assert_eq!(get(&long), Some("\u{7f}"));
        assert_eq!(get("p"), Some("😀\\"));
    }

    #[test]
    fn invalid_json_is_rejected_with_position() {
        for (text, line, column, message) in [
            ("{\n \"ä\": tru}", 2, 10, "expected ident"),
            ("{\"a\":1}}", 1, 8, "expected value"),
            ("{\"a\":1", 1, 6, "EOF while parsing an object"),
            ("\u{feff}[1,]", 1, 4, "expected value"),
            ("[\"\\ud83d\"]", 1, 2, "expected an escaped surrogate pair"),
        ] {
            let error = Tree::parse_json(text).unwrap_err();
            assert_eq!(error.place, Position { line, column }, "{text}: {error}");
            assert!(error.message.starts_with(message), "{text}: {error}");
        }
        let deep = |levels| "[".repeat(levels) + &"]".repeat(levels);
        assert!(Tree::parse_json(&deep(DEPTH_MAX)).is_ok());
        assert!(Tree::parse_json(&deep(DEPTH_MAX + 1)).is_err());
    }
}
