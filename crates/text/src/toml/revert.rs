//! Reversal of edits in a text that another program has edited later.

use std::collections::{BTreeMap, BTreeSet};

use toml_edit::InlineTable;

use super::{
    document::{NotToml, Toml},
    edit::EditError,
    leaf::{Path, dotted},
    merge::{FirstChange, merged},
};

/// The result of [`revert`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reverted {
    /// Text without the reverted edits.
    pub text: String,
    /// Paths of edited values that are kept, because another program has changed them later.
    pub left: Vec<Path>,
}

/// The error of a reversal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotRevert {
    /// A text is invalid TOML.
    #[error(transparent)]
    NotToml(#[from] NotToml),
    /// The removal or restoration of a value would change another one.
    #[error(transparent)]
    EditError(#[from] EditError),
    /// One value contains edits of image-swap and of another program.
    #[error("a value contains edits of image-swap and of another program")]
    Entangled,
}

/// Returns `now` without the edits from `before` to `edited`.
///
/// Each value of `now` that equals the one of `edited` becomes that of `before`. Other values and
/// all comments of another program are kept.
///
/// ```
/// let before = "a = 1\n";
/// let edited = "a = 2\n";
/// let now = "a = 2\nb = 3 # of another program\n";
/// let reverted = image_swap_text::toml::revert(before, edited, now)?;
/// assert_eq!(reverted.text, "a = 1\nb = 3 # of another program\n");
/// assert!(reverted.left.is_empty());
/// # Ok::<(), image_swap_text::toml::CannotRevert>(())
/// ```
///
/// # Errors
/// Returns an error if a text is invalid, or a value cannot be changed without another one.
pub fn revert(before: &str, edited: &str, now: &str) -> Result<Reverted, CannotRevert> {
    let (was, wrote) = (Meaning::of(before)?, Meaning::of(edited)?);
    let (expected, left) = Meaning::of(now)?.without(&was, &wrote);
    // A merge by lines also removes the comments and blank lines of an edit.
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
    // Removals first: an edited value may occupy a path that is restored below.
    for path in found.values.keys().filter(|path| !expected.values.contains_key(*path)) {
        text = Toml::parse(&text)?.without(&names(path))?;
    }
    // Innermost tables first: a table must be empty before its header is removed.
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
            // Some readers require a header.
            text = toml.appended(&["[", &dotted(&names(path)), "]\n"].concat());
        }
    }
    // Empty tables are not compared: they have no meaning.
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

/// Returns the lines that contain only a comment.
fn comments(text: &str) -> BTreeSet<String> {
    let lines = text.lines().map(str::trim).filter(|line| line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

fn without_lines(text: &str, lines: &BTreeSet<String>) -> String {
    text.split_inclusive('\n').filter(|line| !lines.contains(line.trim())).collect()
}

/// Values and tables of a text, in the canonical spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Meaning {
    /// All values except tables, by their paths.
    values: BTreeMap<Path, String>,
    /// Paths of all tables, including those that contain only tables.
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
    /// that differ from both.
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

    /// Returns the paths of tables without values and tables.
    fn empty_tables(&self) -> impl Iterator<Item = &Path> {
        let paths = self.values.keys().chain(&self.tables);
        let full: BTreeSet<&[String]> = paths.map(|path| &path[..path.len() - 1]).collect();
        self.tables.iter().filter(move |path| !full.contains(path.as_slice()))
    }

    /// Adds the tables above each value and table.
    fn close(&mut self) {
        let paths = self.values.keys().chain(&self.tables);
        let above = paths.flat_map(|path| (1..path.len()).map(|n| path[..n].to_vec()));
        let above: Vec<Path> = above.collect();
        self.tables.extend(above);
    }
}
