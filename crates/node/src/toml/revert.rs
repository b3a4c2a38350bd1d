//! Our edits taken out of a text that others have edited since.

use std::{collections::BTreeSet, ops::Range};

use similar::{DiffTag, TextDiff};
use toml_edit::InlineTable;

use super::{CannotEdit, Leaves, NotToml, Path, Toml, syntax::dotted};

/// A text without our edits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reverted {
    /// The text.
    pub(crate) text: String,
    /// What we had edited and somebody else has since: it is left as it is.
    pub(crate) left: Vec<Path>,
}

/// Why a text stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CannotRevert {
    /// Somebody broke it.
    #[error(transparent)]
    NotToml(#[from] NotToml),
    /// What is to go stands where it cannot be taken out alone.
    #[error(transparent)]
    CannotEdit(#[from] CannotEdit),
}

/// `now` without what `ours` had beside `before`. Values are compared by
/// their meaning, one by one: what others have not touched gets back what it was.
pub(crate) fn revert(before: &str, ours: &str, now: &str) -> Result<Reverted, CannotRevert> {
    let (was, wrote) = (Toml::parse(before)?.leaves(), Toml::parse(ours)?.leaves());
    let added = comments(ours).difference(&comments(before)).cloned().collect();
    let mut text = without_lines(now, &added);
    let found = Toml::parse(&text)?.leaves();
    let mut left = Vec::new();
    let paths: BTreeSet<&Path> = was.keys().chain(wrote.keys()).collect();
    // From the last one up: tables empty before their headers go.
    for path in paths.into_iter().rev() {
        let (was, wrote, found) = (was.get(path), wrote.get(path), found.get(path));
        if was == wrote || found == was {
            continue;
        }
        if found != wrote {
            left.push(path.clone());
            continue;
        }
        text = put(&text, path, was.map(String::as_str))?;
    }
    left.reverse();
    let text = without_empty_tables(&text, &was, &wrote)?;
    // Where our lines stand as we wrote them, they go as they came, blank ones too.
    let text = match by_lines(before, ours, now) {
        Some(better) if says_the_same(&better, &text) => better,
        _ => text,
    };
    Ok(Reverted { text, left })
}

/// `now` with the lines that only `ours` has replaced by those of `before`; `None`
/// where they are not all found, once each.
fn by_lines(before: &str, ours: &str, now: &str) -> Option<String> {
    let diff = TextDiff::from_lines(before, ours);
    let lines = |text: &str, range: Range<usize>| -> String {
        text.split_inclusive('\n').skip(range.start).take(range.len()).collect()
    };
    let mut text = now.to_owned();
    for op in diff.ops().iter().filter(|op| op.tag() != DiffTag::Equal) {
        let (was, wrote) = (lines(before, op.old_range()), lines(ours, op.new_range()));
        if wrote.is_empty() || text.matches(&wrote).count() != 1 {
            return None;
        }
        text = text.replacen(&wrote, &was, 1);
    }
    Some(text)
}

fn says_the_same(one: &str, other: &str) -> bool {
    match (Toml::parse(one), Toml::parse(other)) {
        (Ok(one), Ok(other)) => one.leaves() == other.leaves(),
        _ => false,
    }
}

/// `text` with `value` at `path`, or with nothing there.
fn put(text: &str, path: &Path, value: Option<&str>) -> Result<String, CannotRevert> {
    let toml = Toml::parse(text)?;
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    Ok(match value {
        // Whatever is there now is a table: nothing below it is ours.
        Some("{}") if toml.get(&path).is_some() => text.to_owned(),
        // Readers of hosts.toml want a header.
        Some("{}") => toml.appended(&["[", &dotted(&path), "]\n"].concat()),
        Some(value) => toml.set(&path, value, &[])?,
        None => toml.without(&path)?,
    })
}

/// `text` without the tables that are empty now, and that only we had.
fn without_empty_tables(text: &str, was: &Leaves, wrote: &Leaves) -> Result<String, CannotRevert> {
    let tables = |leaves: &Leaves| -> BTreeSet<Path> {
        let above = leaves.iter().flat_map(|(path, value)| {
            let depth = if value == "{}" { path.len() } else { path.len() - 1 };
            (1..=depth).map(|n| path[..n].to_vec())
        });
        above.collect()
    };
    let before = tables(was);
    let mut text = text.to_owned();
    let mut ours: Vec<Path> = tables(wrote).difference(&before).cloned().collect();
    // The innermost first, so that those around them are empty then.
    ours.reverse();
    for path in ours {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let toml = Toml::parse(&text)?;
        text = match toml.get(&path) {
            Some(item) if item.as_inline_table().is_some_and(InlineTable::is_empty) => {
                toml.without(&path)?
            }
            _ => toml.without_header(&path),
        };
    }
    Ok(text)
}

/// Lines that are nothing but a comment.
fn comments(text: &str) -> BTreeSet<String> {
    let lines = text.lines().map(str::trim).filter(|line| line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

fn without_lines(text: &str, lines: &BTreeSet<String>) -> String {
    text.split_inclusive('\n').filter(|line| !lines.contains(line.trim())).collect()
}
