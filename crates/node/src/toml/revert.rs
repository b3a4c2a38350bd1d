//! Our edits taken out of a text that others have edited since.

use std::collections::BTreeSet;

use toml_edit::InlineTable;

use super::{
    CannotEdit, NotToml, Path, Toml,
    meaning::Meaning,
    merge::{First, merged},
    syntax::dotted,
};

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
    /// Ours and theirs cannot be told apart.
    #[error("expected our values apart from those of others, found them in one another")]
    Entangled,
}

/// `now` without what `ours` had beside `before`. Values are compared by
/// their meaning, one by one: what others have not touched gets back what it was.
pub(crate) fn revert(before: &str, ours: &str, now: &str) -> Result<Reverted, CannotRevert> {
    let (was, wrote) = (Meaning::of(before)?, Meaning::of(ours)?);
    let (expected, left) = Meaning::of(now)?.without(&was, &wrote);
    // Where our lines stand as we wrote them, they go as they came, blank ones too.
    let by_lines = [First::One, First::Other]
        .into_iter()
        .filter_map(|first| merged(ours, before, now, first))
        .find(|text| Meaning::of(text).is_ok_and(|found| found == expected));
    let text = match by_lines {
        Some(text) => text,
        None => by_values(before, ours, now, &expected)?,
    };
    Ok(Reverted { text, left })
}

/// `now` with each value that is not as `expected` set or taken out.
fn by_values(
    before: &str,
    ours: &str,
    now: &str,
    expected: &Meaning,
) -> Result<String, CannotRevert> {
    let added = comments(ours).difference(&comments(before)).cloned().collect();
    let mut text = without_lines(now, &added);
    let found = Meaning::of(&text)?;
    // What is ours may stand where something else comes back to.
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
            // Readers of hosts.toml want a header.
            text = toml.appended(&["[", &dotted(&names(path)), "]\n"].concat());
        }
    }
    // An empty table more or less says nothing.
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

/// Lines that are nothing but a comment.
fn comments(text: &str) -> BTreeSet<String> {
    let lines = text.lines().map(str::trim).filter(|line| line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

fn without_lines(text: &str, lines: &BTreeSet<String>) -> String {
    text.split_inclusive('\n').filter(|line| !lines.contains(line.trim())).collect()
}
