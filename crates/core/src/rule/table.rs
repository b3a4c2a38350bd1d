//! Look-ups whose cost does not grow with the number of rules.

use std::collections::HashMap;

use super::pattern::Pattern;

/// Which rule: its place in the list of rules.
pub type RuleId = usize;

/// Names to find by their beginnings, on component boundaries only.
#[derive(Clone, Debug, Default)]
pub(super) struct Boundaries {
    table: HashMap<Box<str>, RuleId>,
    /// Slashes in the deepest name: nothing longer needs to be asked for.
    deepest: usize,
}

impl Boundaries {
    /// Adds `name` unless it is there; the first rule stays.
    pub(super) fn insert(&mut self, name: &str, rule: RuleId) {
        self.deepest = self.deepest.max(name.matches('/').count());
        self.table.entry(name.into()).or_insert(rule);
    }

    /// Every name in the table that `name` is or is below, the longest first.
    pub(super) fn beginnings<'a>(&'a self, name: &'a str) -> impl Iterator<Item = RuleId> + 'a {
        let longest = name.match_indices('/').nth(self.deepest).map_or(name.len(), |(at, _)| at);
        let ends = std::iter::successors(Some(longest), |&end| name[..end].rfind('/'));
        ends.filter_map(|end| self.table.get(&name[..end]).copied())
    }
}

/// Texts to find as the beginnings of others, wherever they end.
#[derive(Clone, Debug, Default)]
pub(super) struct Beginnings<T> {
    table: HashMap<Box<str>, T>,
    /// The lengths that occur, ascending: one look-up for each.
    lengths: Vec<usize>,
}

impl<T: Default> Beginnings<T> {
    pub(super) fn entry(&mut self, beginning: &str) -> &mut T {
        if let Err(at) = self.lengths.binary_search(&beginning.len()) {
            self.lengths.insert(at, beginning.len());
        }
        self.table.entry(beginning.into()).or_default()
    }

    pub(super) fn of<'a>(&'a self, text: &'a str) -> impl Iterator<Item = &'a T> + 'a {
        let fitting = self.lengths.iter().take_while(|length| **length <= text.len());
        fitting.filter_map(|&length| self.table.get(text.get(..length)?))
    }
}

/// Patterns, tried in file order on the input as written and then normalised.
///
/// Found by their literal beginnings: only patterns that begin alike are tried
/// one by one.
#[derive(Clone, Debug, Default)]
pub(super) struct Patterns {
    by_beginning: Beginnings<Vec<(RuleId, Pattern)>>,
}

impl Patterns {
    pub(super) fn push(&mut self, text: &str, rule: RuleId) {
        let pattern = Pattern::new(text);
        self.by_beginning.entry(&pattern.literal_prefix()).push((rule, pattern));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_beginning.lengths.is_empty()
    }

    /// The first in file order that matches any of `texts`.
    pub(super) fn first(&self, texts: [&str; 2]) -> Option<RuleId> {
        let first_of = |text: &str| {
            let first_each = self.by_beginning.of(text).filter_map(|patterns| {
                patterns.iter().find(|(_, pattern)| pattern.matches(text)).map(|(rule, _)| *rule)
            });
            first_each.min()
        };
        texts.into_iter().filter_map(first_of).min()
    }
}
