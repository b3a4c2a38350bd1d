//! TOML edited where it has to be and nowhere else.
//!
//! A text is parsed for where everything stands in it; an edit replaces, adds or
//! takes out lines. So every other byte survives by construction: comments, order,
//! indentation, line ends. What an edit gave is parsed again, and its meaning
//! compared, before it counts.

mod edit;
mod leaf;
mod meaning;
mod merge;
mod revert;
mod syntax;

use std::{collections::BTreeMap, ops::Range};

use toml_edit::{Document, Item, Table};

pub(crate) use self::{
    edit::CannotEdit,
    leaf::{Leaves, Path, shown},
    revert::revert,
    syntax::string,
};

/// A text, and where everything stands in it.
pub(crate) struct Toml<'s> {
    text: &'s str,
    document: Document<&'s str>,
}

/// A text that is no TOML. Says where and never quotes it: there may be a
/// credential on that line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: expected TOML, found something else")]
pub(crate) struct NotToml {
    line: usize,
    column: usize,
}

impl<'s> Toml<'s> {
    pub(crate) fn parse(text: &'s str) -> Result<Self, NotToml> {
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

    /// The text itself.
    pub(crate) const fn text(&self) -> &'s str {
        self.text
    }

    /// What is at `path`.
    pub(crate) fn get<'a>(&'a self, path: &[&str]) -> Option<&'a Item> {
        path.iter().try_fold(self.document.as_item(), |item, key| item.get(key))
    }

    /// The text at `path`.
    pub(crate) fn str(&self, path: &[&str]) -> Option<&str> {
        self.get(path)?.as_str()
    }

    /// The keys of the table at `path`, in order; none where there is no table.
    pub(crate) fn keys(&self, path: &[&str]) -> Vec<&str> {
        let table = self.get(path).and_then(Item::as_table_like);
        table.map(|table| table.iter().map(|(key, _)| key).collect()).unwrap_or_default()
    }

    /// The texts of the array at `path`; those that are none are left out.
    pub(crate) fn strings(&self, path: &[&str]) -> Vec<&str> {
        let array = self.get(path).and_then(Item::as_array);
        array
            .map(|array| array.iter().filter_map(|item| item.as_str()).collect())
            .unwrap_or_default()
    }

    /// All that it says, order and spelling aside.
    pub(crate) fn leaves(&self) -> Leaves {
        let mut leaves = BTreeMap::new();
        leaf::of_table(self.root(), &mut Vec::new(), &mut leaves);
        leaves
    }

    fn root(&self) -> &Table {
        self.document.as_table()
    }

    /// How its lines end.
    fn newline(&self) -> &'static str {
        if self.text.contains("\r\n") { "\r\n" } else { "\n" }
    }

    /// Where the line of `at` begins.
    fn line_start(&self, at: usize) -> usize {
        self.text[..at].rfind('\n').map_or(0, |newline| newline + 1)
    }

    /// Where the line after the one of `at` begins.
    fn line_end(&self, at: usize) -> usize {
        self.text[at..].find('\n').map_or(self.text.len(), |newline| at + newline + 1)
    }

    /// The lines that `range` touches.
    fn lines(&self, range: &Range<usize>) -> Range<usize> {
        self.line_start(range.start)..self.line_end(range.end)
    }

    /// The blanks that the line of `at` begins with.
    fn indent(&self, at: usize) -> &'s str {
        let line = &self.text[self.line_start(at)..at];
        &line[..line.len() - line.trim_start_matches([' ', '\t']).len()]
    }
}

#[cfg(test)]
mod tests;
