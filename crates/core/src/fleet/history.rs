//! Declarations of the management cluster by their numbers, to which a cluster can return.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::namespace_declaration::NamespaceDeclaration;
use crate::{control::effective::Effective, status::StoredDeclaration};

/// Number of declarations that are kept, apart from those in use.
const KEPT: usize = 5;
/// Bytes of the longest history, of the 1 MiB that the API server stores.
const LONGEST: usize = 900 * 1024;
/// Bytes of the longest history in memory. Only declarations in use may exceed [`LONGEST`].
const LONGEST_IN_MEMORY: usize = 4 * LONGEST;

/// Declarations for workload clusters: of the management cluster, and of namespaces with clusters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeclarationHistory {
    /// Declarations in force on the management cluster, by their numbers.
    numbered: BTreeMap<u64, Arc<Effective>>,
    /// Declarations of namespaces with clusters, by namespace. Each has a Secret of its own, so that
    /// none takes the space of another.
    beside: BTreeMap<String, NamespaceDeclaration>,
}

/// Value of a key of the Secret.
#[derive(Serialize, Deserialize)]
struct StoredEntry {
    revision: u64,
    source: String,
    declaration: String,
}

impl StoredEntry {
    fn of(revision: u64, effective: &Effective) -> Self {
        let source = effective.origin.as_str().to_owned();
        Self { revision, source, declaration: effective.text() }
    }

    fn effective(&self) -> Option<Effective> {
        let value = |key: &str| match key {
            "source" => Some(&*self.source),
            _ => Some(&*self.declaration),
        };
        StoredDeclaration::read(value).map(|it| it.0)
    }
}

impl DeclarationHistory {
    /// Reads the declarations of the management cluster from the data of the Secret `N-history`.
    /// Values that image-swap did not write are skipped.
    pub fn read(data: &BTreeMap<String, Vec<u8>>) -> Self {
        let entries = data.values().filter_map(|it| serde_json::from_slice::<StoredEntry>(it).ok());
        let numbered = entries.filter_map(|it| Some((it.revision, Arc::new(it.effective()?))));
        Self { numbered: numbered.collect(), beside: BTreeMap::new() }
    }

    /// Returns the data of that Secret, as far as the API server stores them. The newest declaration is
    /// the first to be left out, then the oldest. Holds credentials.
    pub fn data(&self) -> BTreeMap<String, String> {
        let mut room = LONGEST;
        let mut older = self.newest_first();
        // The management cluster stores the newest one, too.
        let newest = older.next();
        older
            .chain(newest)
            .filter(|(key, value)| {
                let left = room.checked_sub(key.len() + value.len());
                room = left.unwrap_or(room);
                left.is_some()
            })
            .collect()
    }

    /// Returns the values of the Secret with their keys, the newest declaration first.
    fn newest_first(&self) -> impl Iterator<Item = (String, String)> {
        self.numbered.iter().rev().map(|(revision, effective)| {
            let entry = serde_json::to_string(&StoredEntry::of(*revision, effective));
            (revision.to_string(), entry.unwrap_or_default())
        })
    }

    /// Returns true if `other` has the same declarations of the management cluster.
    pub fn is_stored_as(&self, other: &Self) -> bool {
        self.numbered == other.numbered
    }

    /// Adds the declaration with the number `revision` as the newest, and forgets older ones.
    /// Higher numbers are those of a former release, and are forgotten. The numbers `in_use` are
    /// those that clusters have. If the API server cannot store all of them, the oldest are kept in
    /// memory alone, and forgotten only for lack of space there.
    pub fn record(&mut self, revision: u64, effective: Effective, in_use: &BTreeSet<u64>) {
        self.numbered.retain(|number, _| *number <= revision);
        self.numbered.insert(revision, Arc::new(effective));
        while let Some(number) = self.superfluous(in_use) {
            self.numbered.remove(&number);
        }
    }

    /// Returns the number of the declaration that is forgotten next; `None` if all are kept.
    fn superfluous(&self, in_use: &BTreeSet<u64>) -> Option<u64> {
        let is_unused = |number: &&u64| !in_use.contains(number);
        let numbers = self.numbered.keys();
        if let Some(number) = numbers.clone().rev().skip(KEPT).find(is_unused) {
            return Some(*number);
        }
        let length = self.length();
        if length <= LONGEST {
            return None;
        }
        // The newest one stays.
        let mut older = numbers.rev().skip(1).rev();
        let oldest = older.clone().next().filter(|_| length > LONGEST_IN_MEMORY);
        older.find(is_unused).or(oldest).copied()
    }

    /// Returns the declaration with the number `revision`; `None` if it is not kept.
    pub fn get(&self, revision: u64) -> Option<&Arc<Effective>> {
        self.numbered.get(&revision)
    }

    /// Returns the newest declaration with its number; `None` before the first.
    pub fn newest(&self) -> Option<(u64, &Arc<Effective>)> {
        self.numbered.last_key_value().map(|(revision, effective)| (*revision, effective))
    }

    /// Returns the declaration of `namespace`; `None` before its first Secret `registry-info`.
    pub fn beside(&self, namespace: &str) -> Option<&NamespaceDeclaration> {
        self.beside.get(namespace)
    }

    /// Replaces the declaration of `namespace`.
    pub fn set_beside(&mut self, namespace: String, declaration: NamespaceDeclaration) {
        self.beside.insert(namespace, declaration);
    }

    /// Returns the bytes of all declarations of the management cluster.
    fn length(&self) -> usize {
        self.newest_first().map(|(key, value)| key.len() + value.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::effective::{Origin, SecretData};

    fn beside(secret: SecretData) -> Effective {
        Effective { origin: Origin::RegistryInfo, secret }
    }

    fn secret(password: &str) -> SecretData {
        let data = [("DOMAIN", "h.example.org"), ("PASSWORD", password)];
        let data = data.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()));
        SecretData { kind: "Opaque".into(), data: data.into() }
    }

    fn read(history: &DeclarationHistory) -> DeclarationHistory {
        let bytes = history.data().into_iter().map(|(key, value)| (key, value.into_bytes()));
        DeclarationHistory::read(&bytes.collect())
    }

    fn record(history: &mut DeclarationHistory, revision: u64, password: &str) {
        history.record(revision, beside(secret(password)), &BTreeSet::new());
    }

    #[test]
    fn last_declarations_are_kept() {
        let mut history = DeclarationHistory::default();
        for revision in 1..=8 {
            record(&mut history, revision, &revision.to_string());
        }
        assert_eq!(history.get(3), None);
        assert_eq!(history.get(4), Some(&Arc::new(beside(secret("4")))));
        assert_eq!(history.newest().map(|(revision, _)| revision), Some(8));
        assert_eq!(read(&history), history);
    }

    #[test]
    fn numbers_of_a_former_release_are_forgotten() {
        let mut history = DeclarationHistory::default();
        for revision in 4..=8 {
            record(&mut history, revision, &revision.to_string());
        }
        record(&mut history, 1, "new");
        assert_eq!(history.newest(), Some((1, &Arc::new(beside(secret("new"))))));
        assert_eq!(history.numbered.len(), 1);
    }

    #[test]
    fn long_declarations_displace_older_ones() {
        let mut history = DeclarationHistory::default();
        for revision in 1..=3 {
            record(&mut history, revision, &"x".repeat(400 * 1024));
        }
        assert_eq!(history.numbered.len(), 2);
        // Quotation marks are longer in the Secret. A declaration that fits none is not stored.
        record(&mut history, 4, &"\"".repeat(500 * 1024));
        assert!(history.get(4).is_some() && history.data().is_empty(), "{:?}", history.numbered);
    }

    #[test]
    fn declarations_in_use_are_kept() {
        let numbers =
            |history: &DeclarationHistory| history.numbered.keys().copied().collect::<Vec<u64>>();
        let mut history = DeclarationHistory::default();
        for revision in 1..=9 {
            history.record(revision, beside(secret("x")), &BTreeSet::from([1, 3, 8]));
        }
        assert_eq!(numbers(&history), [1, 3, 5, 6, 7, 8, 9]);
        // They are the last to be displaced.
        let long = "x".repeat(500 * 1024);
        history.record(10, beside(secret(&long)), &BTreeSet::from([1, 9]));
        assert_eq!(numbers(&history), [1, 6, 7, 8, 9, 10]);
        history.record(11, beside(secret(&long)), &BTreeSet::from([1, 9]));
        assert_eq!(numbers(&history), [1, 9, 11]);
        // Those that the API server cannot store stay in memory.
        history.record(12, beside(secret(&long)), &BTreeSet::from([1, 9, 11]));
        assert_eq!(numbers(&history), [1, 9, 11, 12]);
        assert!(read(&history).numbered.keys().eq(&[1, 9, 11]));
        history.record(13, beside(secret(&long.repeat(7))), &BTreeSet::from([1, 9, 11]));
        assert_eq!(numbers(&history), [13]);
    }

    #[test]
    fn values_of_other_writers_are_skipped() {
        let data = [("1", "{}"), ("x", "\u{1}"), ("beside.a", "[]")];
        let data = data.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()));
        assert_eq!(DeclarationHistory::read(&data.into()), DeclarationHistory::default());
    }
}
