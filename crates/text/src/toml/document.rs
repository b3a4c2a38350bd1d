//! TOML texts with the byte range of every value.

use std::{collections::BTreeMap, ops::Range};

use toml_edit::{Document, Item, Table};

use super::leaf::{self, Leaves};

/// A parsed TOML text with the byte range of every value.
///
/// ```
/// use image_swap_text::toml::Toml;
///
/// let text = "# containerd\nversion = 2\n[registry] # mirrors\n";
/// let toml = Toml::parse(text)?;
/// let edited = toml.set(&["registry", "config_path"], "\"/c\"", &["# image-swap"])?;
/// assert_eq!(edited, [text, "# image-swap\nconfig_path = \"/c\"\n"].concat());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Toml<'s> {
    pub(super) text: &'s str,
    pub(super) document: Document<&'s str>,
}

/// The position of invalid TOML. The message quotes no text, which may contain a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid TOML: line {line}, column {column}")]
pub struct NotToml {
    line: usize,
    column: usize,
}

impl<'s> Toml<'s> {
    /// Parses `text`.
    ///
    /// # Errors
    /// Returns the position of the first error.
    pub fn parse(text: &'s str) -> Result<Self, NotToml> {
        match Document::parse(text) {
            Ok(document) => Ok(Self { text, document }),
            Err(error) => {
                let at = error.span().map_or(0, |span| span.start);
                let before = text.get(..at).unwrap_or_default();
                let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
                Err(NotToml { line: before.matches('\n').count() + 1, column })
            }
        }
    }

    /// Returns the parsed text.
    pub const fn text(&self) -> &'s str {
        self.text
    }

    /// Returns the item at `path`, the root for an empty path; `None` if there is no such item.
    pub fn get<'a>(&'a self, path: &[&str]) -> Option<&'a Item> {
        path.iter().try_fold(self.document.as_item(), |item, key| item.get(key))
    }

    /// Returns the string at `path`; `None` if there is no string.
    pub fn str(&self, path: &[&str]) -> Option<&str> {
        self.get(path)?.as_str()
    }

    /// Returns the keys of the table at `path`, in order; empty if there is no table.
    pub fn keys(&self, path: &[&str]) -> Vec<&str> {
        let table = self.get(path).and_then(Item::as_table_like);
        table.map(|table| table.iter().map(|(key, _)| key).collect()).unwrap_or_default()
    }

    /// Returns the strings in the array at `path`, without its other values; empty if there is no
    /// array.
    pub fn strings(&self, path: &[&str]) -> Vec<&str> {
        let array = self.get(path).and_then(Item::as_array);
        array
            .map(|array| array.iter().filter_map(|item| item.as_str()).collect())
            .unwrap_or_default()
    }

    /// Returns every value by its path, in one spelling.
    pub fn leaves(&self) -> Leaves {
        let mut leaves = BTreeMap::new();
        leaf::of_table(self.root(), &mut Vec::new(), &mut leaves);
        leaves
    }

    pub(super) fn root(&self) -> &Table {
        self.document.as_table()
    }

    /// Returns the line end of new lines: CRLF if the text contains one.
    pub(super) fn newline(&self) -> &'static str {
        if self.text.contains("\r\n") { "\r\n" } else { "\n" }
    }

    /// Returns the start of the line with byte `at`.
    pub(super) fn line_start(&self, at: usize) -> usize {
        self.text[..at].rfind('\n').map_or(0, |newline| newline + 1)
    }

    /// Returns the start of the line after the one with byte `at`.
    pub(super) fn line_end(&self, at: usize) -> usize {
        self.text[at..].find('\n').map_or(self.text.len(), |newline| at + newline + 1)
    }

    /// Returns the bytes of the lines that `range` touches.
    pub(super) fn lines(&self, range: &Range<usize>) -> Range<usize> {
        self.line_start(range.start)..self.line_end(range.end)
    }

    /// Returns the blanks at the start of the line with byte `at`.
    pub(super) fn indent(&self, at: usize) -> &'s str {
        let line = &self.text[self.line_start(at)..at];
        &line[..line.len() - line.trim_start_matches([' ', '\t']).len()]
    }
}
