//! What a text means, and what it means without somebody's edits.

use std::collections::{BTreeMap, BTreeSet};

use super::{NotToml, Path, Toml};

/// Values and tables, whatever they look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meaning {
    /// Every value that is no table.
    pub(super) values: BTreeMap<Path, String>,
    /// Every table, those that only lead to others too.
    pub(super) tables: BTreeSet<Path>,
}

impl Meaning {
    pub(super) fn of(text: &str) -> Result<Self, NotToml> {
        let leaves = Toml::parse(text)?.leaves();
        let (tables, values): (BTreeMap<_, _>, _) =
            leaves.into_iter().partition(|(_, value)| value == "{}");
        let mut meaning = Self { values, tables: tables.into_keys().collect() };
        meaning.close();
        Ok(meaning)
    }

    /// `self` with what `wrote` made of `was` undone, and the values that it
    /// keeps since they are neither.
    pub(super) fn without(&self, was: &Self, wrote: &Self) -> (Self, Vec<Path>) {
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

    /// The tables that nothing lies below.
    pub(super) fn empty_tables(&self) -> impl Iterator<Item = &Path> {
        let paths = self.values.keys().chain(&self.tables);
        let full: BTreeSet<&[String]> = paths.map(|path| &path[..path.len() - 1]).collect();
        self.tables.iter().filter(move |path| !full.contains(path.as_slice()))
    }

    /// What something lies below is a table.
    fn close(&mut self) {
        let paths = self.values.keys().chain(&self.tables);
        let above = paths.flat_map(|path| (1..path.len()).map(|n| path[..n].to_vec()));
        let above: Vec<Path> = above.collect();
        self.tables.extend(above);
    }
}
