//! Look-ups whose cost does not grow with the number of rules.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

use super::pattern::Pattern;

/// Index of a rule in the list of rules.
pub type RuleId = usize;

/// A hash table that only an administrator's rules fill, with a fast hash. Senders of pods only
/// look up, so they cannot construct collisions.
pub(super) type Table<V> = HashMap<Box<str>, V, RandomState>;
/// The set of the keys of such a table.
pub(super) type StringSet = HashSet<Box<str>, RandomState>;

/// Names that are found by their prefixes, on component boundaries only.
#[derive(Clone, Debug, Default)]
pub(super) struct PathPrefixIndex {
    domains: Table<Domain>,
}

/// The names on one domain.
#[derive(Clone, Debug, Default)]
struct Domain {
    /// The rule of the domain itself; `None` if only paths on it have rules.
    whole: Option<RuleId>,
    paths: Table<RuleId>,
    /// Number of slashes in the deepest path: longer prefixes are never looked up.
    deepest: usize,
}

impl PathPrefixIndex {
    /// Adds `path` on `domain`; an empty path is the whole domain. An existing entry stays.
    pub(super) fn insert(&mut self, domain: &str, path: &str, rule: RuleId) {
        let domain = self.domains.entry(domain.into()).or_default();
        if path.is_empty() {
            domain.whole.get_or_insert(rule);
            return;
        }
        domain.deepest = domain.deepest.max(path.matches('/').count());
        domain.paths.entry(path.into()).or_insert(rule);
    }

    /// Returns the rules of every prefix of `path` on `domain`, the longest first, and the
    /// number of bytes of `path` that each covers.
    #[inline]
    pub(super) fn beginnings<'a>(
        &'a self,
        domain: &str,
        path: &'a str,
    ) -> impl Iterator<Item = (RuleId, usize)> + use<'a> {
        let domain = self.domains.get(domain);
        let whole = domain.and_then(|domain| domain.whole);
        let below = domain.filter(|domain| !domain.paths.is_empty());
        let below = below.into_iter().flat_map(|domain| domain.beginnings(path));
        below.chain(whole.map(|rule| (rule, 0)))
    }
}

impl Domain {
    fn beginnings<'a>(&'a self, path: &'a str) -> impl Iterator<Item = (RuleId, usize)> + use<'a> {
        let longest = path.match_indices('/').nth(self.deepest).map_or(path.len(), |(at, _)| at);
        let ends = std::iter::successors(Some(longest), |&end| path[..end].rfind('/'));
        ends.filter_map(|length| self.paths.get(&path[..length]).map(|&rule| (rule, length)))
    }
}

/// Texts that are found as prefixes of others, at any byte.
#[derive(Clone, Debug, Default)]
pub(super) struct StringPrefixIndex<T> {
    table: Table<T>,
    /// Lengths of the texts, ascending, with one look-up for each.
    lengths: Vec<usize>,
}

impl<T: Default> StringPrefixIndex<T> {
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

/// Patterns, tried in file order on the original input and then on its normalised form.
///
/// The literal prefix selects the candidates: only patterns with a common prefix are tried one
/// by one.
#[derive(Clone, Debug, Default)]
pub(super) struct Patterns {
    by_beginning: StringPrefixIndex<Vec<(RuleId, Pattern)>>,
}

impl Patterns {
    pub(super) fn push(&mut self, text: &str, rule: RuleId) {
        let pattern = Pattern::new(text);
        self.by_beginning.entry(&pattern.literal_prefix()).push((rule, pattern));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_beginning.lengths.is_empty()
    }

    /// Returns the first pattern, in file order, that matches any of `texts`.
    pub(super) fn first(&self, texts: [&str; 2]) -> Option<RuleId> {
        if self.is_empty() {
            return None;
        }
        let first_of = |text: &str| {
            let first_each = self.by_beginning.of(text).filter_map(|patterns| {
                patterns.iter().find(|(_, pattern)| pattern.matches(text)).map(|(rule, _)| *rule)
            });
            first_each.min()
        };
        texts.into_iter().filter_map(first_of).min()
    }
}
