//! Reverting edits in a text that another program has edited since.

use std::collections::{BTreeMap, BTreeSet};

use toml_edit::InlineTable;

use super::{
    document::{NotToml, Toml},
    edit::EditError,
    leaf::{Path, dotted},
    merge::{FirstChange, merged},
};

/// A text without the reverted edits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reverted {
    /// The text.
    pub text: String,
    /// The edited values that another program has changed since. They are kept.
    pub left: Vec<Path>,
}

/// The reason why a text is not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotRevert {
    /// One of the texts is invalid.
    #[error(transparent)]
    NotToml(#[from] NotToml),
    /// A value cannot be removed or restored alone.
    #[error(transparent)]
    EditError(#[from] EditError),
    /// The edits and those of another program are in one value.
    #[error("a value contains edits of image-swap and of another program")]
    Entangled,
}

/// Returns `now` without the edits from `before` to `edited`. Values are compared one by one: a value
/// that is as in `edited` becomes as in `before`.
///
/// # Errors
/// Returns an error if a text is invalid or a value cannot be changed alone.
pub fn revert(before: &str, edited: &str, now: &str) -> Result<Reverted, CannotRevert> {
    let (was, wrote) = (Meaning::of(before)?, Meaning::of(edited)?);
    let (expected, left) = Meaning::of(now)?.without(&was, &wrote);
    // Unchanged lines of an edit are removed as they were added, blank ones too.
    let by_lines = [FirstChange::One, FirstChange::Other]
        .into_iter()
        .filter_map(|first| merged(edited, before, now, first))
        .find(|text| Meaning::of(text).is_ok_and(|found| found == expected));
    let text = match by_lines {
        Some(text) => text,
        None => by_values(before, edited, now, &expected)?,
    };
    Ok(Reverted { text, left })
}

/// Returns `now` with each value that differs from `expected` set or removed.
fn by_values(
    before: &str,
    edited: &str,
    now: &str,
    expected: &Meaning,
) -> Result<String, CannotRevert> {
    let added = comments(edited).difference(&comments(before)).cloned().collect();
    let mut text = without_lines(now, &added);
    let found = Meaning::of(&text)?;
    // An edited value may be where another one is restored to.
    for path in found.values.keys().filter(|path| !expected.values.contains_key(*path)) {
        text = Toml::parse(&text)?.without(&names(path))?;
    }
    // From the innermost up: a table is empty before its header goes.
    for path in found.tables.difference(&expected.tables).collect::<Vec<_>>().into_iter().rev() {
        text = without_empty_table(&text, path)?;
    }
    for (path, value) in &expected.values {
        if found.values.get(path) != Some(value) {
            text = Toml::parse(&text)?.set(&names(path), value, &[])?;
        }
    }
    for path in expected.empty_tables() {
        let toml = Toml::parse(&text)?;
        if toml.get(&names(path)).is_none() {
            // Some readers want a header.
            text = toml.appended(&["[", &dotted(&names(path)), "]\n"].concat());
        }
    }
    // One empty table more or less has no meaning.
    if Meaning::of(&text)?.values != expected.values {
        return Err(CannotRevert::Entangled);
    }
    Ok(text)
}

fn without_empty_table(text: &str, path: &Path) -> Result<String, CannotRevert> {
    let toml = Toml::parse(text)?;
    let path = names(path);
    Ok(match toml.get(&path) {
        Some(item) if item.as_inline_table().is_some_and(InlineTable::is_empty) => {
            toml.without(&path)?
        }
        _ => toml.without_header(&path),
    })
}

fn names(path: &Path) -> Vec<&str> {
    path.iter().map(String::as_str).collect()
}

/// Returns the lines that are only a comment.
fn comments(text: &str) -> BTreeSet<String> {
    let lines = text.lines().map(str::trim).filter(|line| line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

fn without_lines(text: &str, lines: &BTreeSet<String>) -> String {
    text.split_inclusive('\n').filter(|line| !lines.contains(line.trim())).collect()
}

/// Values and tables, in one spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Meaning {
    /// Every value that is no table.
    values: BTreeMap<Path, String>,
    /// Every table, including those that only lead to others.
    tables: BTreeSet<Path>,
}

impl Meaning {
    fn of(text: &str) -> Result<Self, NotToml> {
        let leaves = Toml::parse(text)?.leaves();
        let (tables, values): (BTreeMap<_, _>, _) =
            leaves.into_iter().partition(|(_, value)| value == "{}");
        let mut meaning = Self { values, tables: tables.into_keys().collect() };
        meaning.close();
        Ok(meaning)
    }

    /// Returns `self` without the changes from `was` to `wrote`, and the paths of changed values
    /// that are as in neither.
    fn without(&self, was: &Self, wrote: &Self) -> (Self, Vec<Path>) {
        let mut meaning = self.clone();
        let mut left = Vec::new();
        let paths: BTreeSet<&Path> = was.values.keys().chain(wrote.values.keys()).collect();
        for path in paths {
            let value = |meaning: &Self| meaning.values.get(path).cloned();
            let (was, wrote, found) = (value(was), value(wrote), value(self));
            if was == wrote || found == was {
                continue;
            }
            match was {
                _ if found != wrote => left.push(path.clone()),
                Some(was) => drop(meaning.values.insert(path.clone(), was)),
                None => drop(meaning.values.remove(path)),
            }
        }
        meaning.tables.retain(|path| was.tables.contains(path) || !wrote.tables.contains(path));
        meaning.tables.extend(was.tables.difference(&wrote.tables).cloned());
        meaning.close();
        (meaning, left)
    }

    /// Returns the tables without values.
    fn empty_tables(&self) -> impl Iterator<Item = &Path> {
        let paths = self.values.keys().chain(&self.tables);
        let full: BTreeSet<&[String]> = paths.map(|path| &path[..path.len() - 1]).collect();
        self.tables.iter().filter(move |path| !full.contains(path.as_slice()))
    }

    /// Adds the tables on the way to each value and table.
    fn close(&mut self) {
        let paths = self.values.keys().chain(&self.tables);
        let above = paths.flat_map(|path| (1..path.len()).map(|n| path[..n].to_vec()));
        let above: Vec<Path> = above.collect();
        self.tables.extend(above);
    }
}
