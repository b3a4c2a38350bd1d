//! Tokens of Rust, as far as comments and the heads of items need them.

/// A token. Literals have no text: nothing in them is a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token<'s> {
    Comment(RawComment<'s>),
    /// An identifier, a keyword or a number.
    Word(&'s str),
    Literal,
    /// Any other character.
    Mark(char),
}

/// A comment as written, without its marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RawComment<'s> {
    pub(super) marker: Marker,
    /// Each line with its number, counted from 1.
    pub(super) lines: Vec<(usize, &'s str)>,
}

/// The item that a comment documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marker {
    /// No item: `//` and `/*`.
    Plain,
    /// The item that contains the comment: `//!` and `/*!`.
    Inner,
    /// The item that follows: `///` and `/**`.
    Outer,
}

/// Splits the text of a file into tokens.
pub(super) fn tokens(source: &str) -> Vec<Token<'_>> {
    Lexer { rest: source, line: 1 }.collect()
}

struct Lexer<'s> {
    rest: &'s str,
    /// The number of the line at which `rest` begins.
    line: usize,
}

impl<'s> Iterator for Lexer<'s> {
    type Item = Token<'s>;

    fn next(&mut self) -> Option<Token<'s>> {
        self.take(self.rest.len() - self.rest.trim_start().len());
        let rest = self.rest;
        let first = rest.chars().next()?;
        if rest.starts_with("//") {
            return Some(self.line_comment());
        }
        if rest.starts_with("/*") {
            return Some(self.block_comment());
        }
        let (length, token) = match first {
            '"' => (string(rest), Token::Literal),
            '\'' => character(rest).map_or((1, Token::Mark('\'')), |end| (end, Token::Literal)),
            first if is_word(first) => {
                let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                let (word, after) = rest.split_at(end);
                let raw = if ["r", "br", "cr"].contains(&word) { raw_string(after) } else { None };
                raw.map_or((end, Token::Word(word)), |length| (end + length, Token::Literal))
            }
            first => (first.len_utf8(), Token::Mark(first)),
        };
        self.take(length);
        Some(token)
    }
}

impl<'s> Lexer<'s> {
    /// Advances by `length` bytes and returns them.
    fn take(&mut self, length: usize) -> &'s str {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        self.line += taken.matches('\n').count();
        taken
    }

    fn line_comment(&mut self) -> Token<'s> {
        let line = self.line;
        let text = self.take(self.rest.find('\n').unwrap_or(self.rest.len()));
        let (marker, text) = if text.starts_with("///") && !text.starts_with("////") {
            (Marker::Outer, &text[3..])
        } else if let Some(text) = text.strip_prefix("//!") {
            (Marker::Inner, text)
        } else {
            (Marker::Plain, text.trim_start_matches('/'))
        };
        Token::Comment(RawComment { marker, lines: vec![(line, text)] })
    }

    fn block_comment(&mut self) -> Token<'s> {
        let line = self.line;
        let text = self.take(block(self.rest));
        let text = text.strip_suffix("*/").unwrap_or(text);
        let (marker, text) = if let Some(text) = text.strip_prefix("/*!") {
            (Marker::Inner, text)
        } else if text.starts_with("/**") && !text.starts_with("/***") {
            (Marker::Outer, &text[3..])
        } else {
            (Marker::Plain, &text[text.len().min(2)..])
        };
        let lines = text.split('\n').enumerate().map(|(index, text)| {
            let text = text.trim_start();
            (line + index, text.strip_prefix('*').unwrap_or(text))
        });
        Token::Comment(RawComment { marker, lines: lines.collect() })
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns the length of the block comment at the beginning of `text`. Block comments nest.
fn block(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(found) = text[at..].find(['/', '*']) {
        at += found;
        let step = match text.as_bytes().get(at..at + 2) {
            Some(b"/*") => {
                depth += 1;
                2
            }
            Some(b"*/") => {
                depth -= 1;
                2
            }
            _ => 1,
        };
        at += step;
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// Returns the length of the string literal at the beginning of `text`.
fn string(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Returns the length of `#"…"#` at the beginning of `text`, with any number of `#`.
fn raw_string(text: &str) -> Option<usize> {
    let hashes = text.len() - text.trim_start_matches('#').len();
    let body = text[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = body.find(&end).map_or(body.len(), |at| at + end.len());
    Some(hashes + 1 + length)
}

/// Returns the length of the character literal at the beginning of `text`, or `None` for a
/// lifetime.
fn character(text: &str) -> Option<usize> {
    let mut chars = text.char_indices().skip(1);
    let (_, first) = chars.next()?;
    if first == '\\' {
        let (_, _) = chars.next()?;
        return chars.find(|(_, c)| *c == '\'').map(|(at, _)| at + 1);
    }
    chars.next().filter(|(_, c)| *c == '\'').map(|(at, _)| at + 1)
}

#[cfg(test)]
mod tests {
    use super::{
        Marker::{self, Inner, Outer, Plain},
        RawComment, Token, tokens,
    };

    /// Returns the comments of `source`, each with its line and marker.
    fn comments(source: &str) -> Vec<(usize, Marker, String)> {
        let comments = tokens(source).into_iter().filter_map(|token| match token {
            Token::Comment(RawComment { marker, lines }) => {
                let text: Vec<&str> = lines.iter().map(|(_, text)| *text).collect();
                Some((lines[0].0, marker, text.join("|")))
            }
            _ => None,
        });
        comments.collect()
    }

    fn plain(line: usize, text: &str) -> (usize, Marker, String) {
        (line, Plain, text.to_owned())
    }

    #[test]
    fn slashes_in_a_string_are_no_comment() {
        let source = r#"let a = "https://a.b"; // one
let b = "\"//"; let c = b"//"; // two
let d = "a
// in the string
"; // three"#;
        assert_eq!(comments(source), [plain(1, " one"), plain(2, " two"), plain(5, " three")]);
    }

    #[test]
    fn slashes_in_a_raw_string_are_no_comment() {
        let source = "let a = r\"//\\\"; // one\nlet b = br##\"\"# // \"##; // two\n\
                      let c = cr#\"\n///\"#; // four";
        assert_eq!(comments(source), [plain(1, " one"), plain(2, " two"), plain(4, " four")]);
    }

    #[test]
    fn quotes_in_characters_begin_no_string() {
        let source = "let a = ['\"', '\\'', '/', '\\u{2f}', b'\"']; // one\n\
                      fn f<'a, 'b>(_: &'a str) {} // two";
        assert_eq!(comments(source), [plain(1, " one"), plain(2, " two")]);
    }

    #[test]
    fn raw_identifier_begins_no_string() {
        assert_eq!(comments("let r#fn = r; // \"one\""), [plain(1, " \"one\"")]);
    }

    #[test]
    fn block_comments_nest_and_span_lines() {
        let source = "/* a /* b */ // c\n * d */ x /* e */ // f";
        let expected = [plain(1, "a /* b */ // c| d "), plain(2, "e "), plain(2, " f")];
        assert_eq!(comments(source), expected);
        assert_eq!(comments("/* open"), [plain(1, "open")]);
    }

    #[test]
    fn marker_distinguishes_docs_from_comments() {
        let source = "//! a\n/// b\n//// c\n// d\n/*! e */\n/** f */\n/*** g */\n/**/";
        let markers: Vec<Marker> = comments(source).into_iter().map(|(_, kind, _)| kind).collect();
        assert_eq!(markers, [Inner, Outer, Plain, Plain, Inner, Outer, Plain, Plain]);
    }
}
