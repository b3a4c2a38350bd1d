//! Edits of single values in a TOML text.

use std::ops::Range;

use toml_edit::{InlineTable, Item, Table, TableLike};

use super::{
    document::Toml,
    leaf::{Leaves, dotted, key, shown},
};

/// The error of an edit that would change other values than its own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} at {path}, found another value")]
pub struct EditError {
    /// Path of the unexpected item, as keys with dots between them.
    pub path: String,
    /// Item that the edit requires at `path`.
    pub expected: &'static str,
}

/// A replacement of bytes.
struct Splice {
    range: Range<usize>,
    text: String,
}

/// The innermost existing table on the way to a key.
struct Way<'a> {
    /// Table that gets a new line.
    at: At<'a>,
    /// Dotted keys from `at` to the innermost existing table; empty if it is `at`.
    dotted: Vec<&'a str>,
    /// Keys of the missing tables below the innermost existing one.
    missing: &'a [&'a str],
}

/// A table that takes new keys.
#[derive(Clone, Copy)]
enum At<'a> {
    /// The root, or a table with a header of its own or below it.
    Table(&'a Table),
    /// An inline table, `{ … }`.
    Inline(&'a InlineTable),
}

impl Toml<'_> {
    /// Returns the text with `value`, a TOML value, at `path`. The lines `comments` are inserted
    /// above a new or replaced value.
    ///
    /// # Errors
    /// Returns an error if another value would change.
    pub fn set(&self, path: &[&str], value: &str, comments: &[&str]) -> Result<String, EditError> {
        let Some((last, tables)) = path.split_last() else {
            return Err(edit_error(path, "a key"));
        };
        let way = self.way(tables)?;
        let there =
            way.table().and_then(|table| table.get(last)).filter(|_| way.missing.is_empty());
        let splice = match there {
            Some(Item::Value(old)) if !old.is_inline_table() => {
                let range = old.span().ok_or_else(|| edit_error(path, "a value"))?;
                let inline = matches!(way.at, At::Inline(_));
                let start = self.line_start(range.start);
                let above = if inline { String::new() } else { self.comments(comments, start) };
                let text = [&above, &self.text[start..range.start], value].concat();
                Splice { range: start..range.end, text }
            }
            Some(_) => return Err(edit_error(path, "a value")),
            None => self.added(path, last, value, comments, &way)?,
        };
        let text = self.spliced(vec![splice]);
        // A table that is made of both headers and dotted keys may take no more.
        if self.differs_at_most_at(path, &text) {
            Ok(text)
        } else {
            Err(edit_error(tables, "a table with either headers or dotted keys"))
        }
    }

    /// Returns true if `text` has a value at `path`, and all other values are those of `self`.
    fn differs_at_most_at(&self, path: &[&str], text: &str) -> bool {
        let Ok(edited) = Toml::parse(text) else { return false };
        let others = |toml: &Toml<'_>| -> Leaves {
            let leaves = toml.leaves().into_iter();
            // The tables above the value are not empty any more.
            leaves.filter(|(at, _)| !path.iter().zip(at).all(|(a, b)| a == b)).collect()
        };
        edited.get(path).is_some() && others(&edited) == others(self)
    }

    /// Returns the text without the value at `path`, or without a table and everything below it.
    /// The text is unchanged if the value is missing.
    ///
    /// # Errors
    /// Returns an error if another value would be removed, too.
    pub fn without(&self, path: &[&str]) -> Result<String, EditError> {
        let Some((last, tables)) = path.split_last() else {
            return Err(edit_error(path, "a key"));
        };
        let Some(item) = self.get(path) else { return Ok(self.text.to_owned()) };
        let parent = self.get(tables).ok_or_else(|| edit_error(tables, "a table"))?;
        let mut ranges = Vec::new();
        if let Some(inline) = self.enclosing_inline(tables) {
            if !std::ptr::eq(inline, parent.as_inline_table().unwrap_or(inline)) {
                return Err(edit_error(path, "a key without dots"));
            }
            ranges.push(within_inline(inline, last).ok_or_else(|| edit_error(path, "a key"))?);
        } else {
            let name = parent.as_table().and_then(|table| table.key(last));
            let name = name.and_then(toml_edit::Key::span);
            self.statements(name, item, &mut ranges);
        }
        let splices = ranges.into_iter().map(|range| Splice { range, text: String::new() });
        Ok(self.spliced(splices.collect()))
    }

    /// Returns the text without the header of the table at `path`, if the table is empty.
    pub(super) fn without_header(&self, path: &[&str]) -> String {
        let table = self.get(path).and_then(Item::as_table).filter(|table| table.is_empty());
        let range = table.and_then(header);
        let splice = range.map(|range| Splice { range: self.lines(&range), text: String::new() });
        self.spliced(splice.into_iter().collect())
    }

    /// Returns the text with `block` at its end, after a blank line.
    pub fn appended(&self, block: &str) -> String {
        let newline = self.newline();
        let mut text = self.text.to_owned();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push_str(newline);
        }
        if !text.is_empty() && !text.ends_with(&[newline, newline].concat()) {
            text.push_str(newline);
        }
        text + &block.replace('\n', newline)
    }

    /// Follows the path `tables` as far as its tables exist.
    fn way<'a>(&'a self, tables: &'a [&'a str]) -> Result<Way<'a>, EditError> {
        let mut way = Way { at: At::Table(self.root()), dotted: Vec::new(), missing: &[] };
        let mut item = self.document.as_item();
        for (i, name) in tables.iter().enumerate() {
            let Some(next) = item.get(name) else {
                way.missing = &tables[i..];
                break;
            };
            item = next;
            let is_dotted = match next {
                Item::Table(table) => table.is_dotted(),
                Item::Value(value) => value.as_inline_table().is_some_and(InlineTable::is_dotted),
                _ => false,
            };
            if is_dotted {
                way.dotted.push(name);
                continue;
            }
            way.dotted.clear();
            way.at = match next {
                Item::Table(table) => At::Table(table),
                Item::Value(value) => At::Inline(
                    value.as_inline_table().ok_or_else(|| edit_error(&tables[..=i], "a table"))?,
                ),
                _ => return Err(edit_error(&tables[..=i], "a table")),
            };
        }
        Ok(way)
    }

    /// Returns the inline table with the keys of the table at `tables`; `None` if they have lines.
    fn enclosing_inline<'a>(&'a self, tables: &'a [&'a str]) -> Option<&'a InlineTable> {
        match self.way(tables).ok()?.at {
            At::Inline(table) => Some(table),
            At::Table(_) => None,
        }
    }

    /// Returns the replacement that adds a missing key.
    fn added(
        &self,
        path: &[&str],
        last: &str,
        value: &str,
        comments: &[&str],
        way: &Way<'_>,
    ) -> Result<Splice, EditError> {
        let newline = self.newline();
        let table = match way.at {
            At::Inline(table) => {
                return in_inline(self.text, table, last, value, way)
                    .ok_or_else(|| edit_error(path, "an inline table"));
            }
            At::Table(table) => table,
        };
        let tables = &path[..path.len() - 1];
        if let Some(first) = way.dotted.first() {
            // A table that dotted keys define cannot also have a header.
            let span = table.key(first).and_then(toml_edit::Key::span);
            let start = self.line_start(span.ok_or_else(|| edit_error(path, "a key"))?.start);
            let keys: Vec<&str> =
                way.dotted.iter().chain(way.missing).copied().chain([last]).collect();
            let blanks = self.indent_of_line(start);
            let line = [blanks, &dotted(&keys), " = ", value, newline].concat();
            let text = self.comments(comments, start) + &line;
            return Ok(Splice { range: start..start, text });
        }
        let own = header(table);
        if way.missing.is_empty() && (tables.is_empty() || own.is_some()) {
            let (at, blanks) = match own {
                Some(range) => (self.line_end(range.end), self.indent_below(table, range.start)),
                None => (self.first_line(table), ""),
            };
            let open = if at > 0 && !self.text[..at].ends_with('\n') { newline } else { "" };
            let comments: String =
                comments.iter().flat_map(|line| [blanks, line, newline]).collect();
            let text = [open, &comments, blanks, &key(last), " = ", value, newline].concat();
            return Ok(Splice { range: at..at, text });
        }
        let comments: String = comments.iter().flat_map(|line| [*line, newline]).collect();
        let line = [&key(last), " = ", value, newline].concat();
        let block = ["[", &dotted(tables), "]", newline, &comments, &line].concat();
        // The header of a table is inserted before those of its children.
        let below = way.missing.is_empty().then(|| first_header(table)).flatten();
        if let Some(start) = below {
            let at = self.line_start(start);
            return Ok(Splice { range: at..at, text: block + newline });
        }
        let end = self.text.len();
        let text = self.appended(&block.replace("\r\n", "\n")).split_off(end);
        Ok(Splice { range: end..end, text })
    }

    /// Returns the start of the first key of the root table, or of the first header without keys.
    fn first_line(&self, table: &Table) -> usize {
        let keys = table.iter().filter(|(_, item)| !has_header(item));
        let keys = keys.filter_map(|(name, _)| Some(table.key(name)?.span()?.start));
        keys.min().or_else(|| first_header(table)).map_or(self.text.len(), |at| self.line_start(at))
    }

    /// Returns the indentation of keys below the header at `header`.
    fn indent_below(&self, table: &Table, header: usize) -> &str {
        let keys = table.iter().filter(|(_, item)| !has_header(item));
        let first = keys.filter_map(|(name, _)| Some(table.key(name)?.span()?.start)).min();
        self.indent(first.unwrap_or(header))
    }

    /// Returns the blanks of the line that begins at `start`.
    fn indent_of_line(&self, start: usize) -> &str {
        let line = &self.text[start..];
        &line[..line.len() - line.trim_start_matches([' ', '\t']).len()]
    }

    /// Returns comments with the indentation of the line that begins at `start`.
    fn comments(&self, comments: &[&str], start: usize) -> String {
        let (blanks, newline) = (self.indent_of_line(start), self.newline());
        comments.iter().flat_map(|line| [blanks, line, newline]).collect()
    }

    /// Adds the lines of `item`, whose key is at `name`, and of everything below it to `ranges`.
    fn statements(&self, name: Option<Range<usize>>, item: &Item, ranges: &mut Vec<Range<usize>>) {
        match item {
            Item::None => {}
            Item::Value(value) => {
                if let (Some(name), Some(value)) = (name, value.span()) {
                    ranges.push(self.lines(&(name.start..value.end)));
                }
            }
            Item::Table(table) => self.table(table, ranges),
            Item::ArrayOfTables(tables) => {
                tables.iter().for_each(|table| self.table(table, ranges));
            }
        }
    }

    /// Adds the lines of `table` and of everything below it to `ranges`.
    fn table(&self, table: &Table, ranges: &mut Vec<Range<usize>>) {
        ranges.extend(header(table).map(|range| self.lines(&range)));
        for (name, item) in table {
            let name = table.key(name).and_then(toml_edit::Key::span);
            self.statements(name, item, ranges);
        }
    }

    /// Returns the text with the replacements of `splices`.
    fn spliced(&self, mut splices: Vec<Splice>) -> String {
        splices.sort_by_key(|splice| splice.range.start);
        let mut text = String::with_capacity(self.text.len());
        let mut done = 0;
        for Splice { range, text: new } in splices {
            text.push_str(&self.text[done..range.start.max(done)]);
            text.push_str(&new);
            done = range.end.max(done);
        }
        text.push_str(&self.text[done..]);
        text
    }
}

impl<'a> Way<'a> {
    /// Returns the table at the end of the way; `None` if a table is missing.
    fn table(&self) -> Option<&'a dyn TableLike> {
        let mut table: &dyn TableLike = match self.at {
            At::Table(table) => table,
            At::Inline(table) => table,
        };
        for name in &self.dotted {
            table = table.get(name)?.as_table_like()?;
        }
        self.missing.is_empty().then_some(table)
    }
}

/// Returns the error of an edit that requires `expected` at `path`.
fn edit_error(path: &[&str], expected: &'static str) -> EditError {
    let path: Vec<String> = path.iter().map(|&key| key.to_owned()).collect();
    EditError { path: shown(&path), expected }
}

/// Returns true if `item` has a header of its own.
fn has_header(item: &Item) -> bool {
    match item {
        Item::Table(table) => !table.is_dotted(),
        Item::ArrayOfTables(_) => true,
        _ => false,
    }
}

/// Returns the byte range of the header of `table`; `None` without a header.
fn header(table: &Table) -> Option<Range<usize>> {
    // An implicit table has the span of the first header below it, or none.
    table.span().filter(|range| !table.is_implicit() && !range.is_empty())
}

/// Returns the start of the first header of `table` and of the tables below it.
fn first_header(table: &Table) -> Option<usize> {
    let own = header(table).map(|range| range.start);
    let below = table.iter().filter_map(|(_, item)| match item {
        Item::Table(table) => first_header(table),
        Item::ArrayOfTables(tables) => tables.span().map(|range| range.start),
        _ => None,
    });
    below.chain(own).min()
}

/// Returns the replacement that adds a key to an inline table.
fn in_inline(
    text: &str,
    table: &InlineTable,
    last: &str,
    value: &str,
    way: &Way<'_>,
) -> Option<Splice> {
    let close = table.span()?.end - 1;
    let body = text[..close].trim_end();
    let comma = if table.is_empty() || body.ends_with(',') { "" } else { "," };
    let mut new = [&key(last), " = ", value].concat();
    if way.dotted.is_empty() {
        for name in way.missing.iter().rev() {
            new = format!("{} = {{ {new} }}", key(name));
        }
    } else {
        let keys: Vec<&str> = way.dotted.iter().chain(way.missing).copied().collect();
        new = [&dotted(&keys), ".", &new].concat();
    }
    Some(Splice { range: body.len()..close, text: [comma, " ", &new, " "].concat() })
}

/// Returns the byte range of `name`, its value and one comma in an inline table.
fn within_inline(table: &InlineTable, name: &str) -> Option<Range<usize>> {
    let start_of = |name: &str| Some(table.key(name)?.span()?.start);
    let end_of = |name: &str| table.get(name).and_then(value_end);
    let names: Vec<&str> = table.iter().map(|(name, _)| name).collect();
    let at = names.iter().position(|found| *found == name)?;
    let start = start_of(name)?;
    if let Some(next) = names.get(at + 1) {
        return Some(start..start_of(next)?);
    }
    let end = end_of(name)?;
    match at.checked_sub(1) {
        Some(before) => Some(end_of(names[before])?..end),
        None => Some(start..end),
    }
}

/// Returns the end of a value; for dotted keys, of the last value below it.
fn value_end(value: &toml_edit::Value) -> Option<usize> {
    match value.as_inline_table().filter(|table| table.is_dotted()) {
        Some(table) => table.iter().filter_map(|(_, value)| value_end(value)).max(),
        None => value.span().map(|range| range.end),
    }
}
