//! Declarations of the management cluster by their numbers, to which a cluster can return.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    control::effective::{Effective, Origin, SecretData},
    status::StoredDeclaration,
};

/// Number of declarations that are kept, apart from those in use.
const KEPT: usize = 5;
/// Bytes of the longest history, of the 1 MiB that the API server stores.
const LONGEST: usize = 900 * 1024;
/// Prefix of the key of a namespace's own declaration. The name of the namespace follows.
const BESIDE: &str = "beside.";

/// Declarations of the management cluster: content of the Secret `N-history` of the fleet's
/// namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeclarationHistory {
    /// Declarations in force on the management cluster, by their numbers.
    numbered: BTreeMap<u64, Arc<Effective>>,
    /// Declarations of namespaces with clusters, from their Secrets `registry-info`, with their
    /// numbers.
    beside: BTreeMap<String, (u64, Arc<Effective>)>,
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
    /// Reads the data of the Secret. Values that image-swap did not write are skipped.
    pub fn read(data: &BTreeMap<String, Vec<u8>>) -> Self {
        let mut history = Self::default();
        for (key, value) in data {
            let Ok(entry) = serde_json::from_slice::<StoredEntry>(value) else { continue };
            let Some(effective) = entry.effective().map(Arc::new) else { continue };
            match key.strip_prefix(BESIDE) {
                Some(namespace) => {
                    let value = (entry.revision, effective);
                    history.beside.insert(namespace.to_owned(), value);
                }
                None => {
                    history.numbered.insert(entry.revision, effective);
                }
            }
        }
        history
    }

    /// Returns the data of the Secret. Holds credentials.
    pub fn data(&self) -> BTreeMap<String, String> {
        let json = |entry: StoredEntry| serde_json::to_string(&entry).unwrap_or_default();
        let numbered = self.numbered.iter().map(|(revision, effective)| {
            (revision.to_string(), json(StoredEntry::of(*revision, effective)))
        });
        let beside = self.beside.iter().map(|(namespace, (revision, effective))| {
            (format!("{BESIDE}{namespace}"), json(StoredEntry::of(*revision, effective)))
        });
        numbered.chain(beside).collect()
    }

    /// Adds the declaration with the number `revision` as the newest, and forgets older ones.
    /// Higher numbers are those of a former release, and are forgotten. The numbers `in_use` are
    /// those of single clusters, which keep them; they are forgotten only for lack of space.
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
        if self.length() <= LONGEST {
            return None;
        }
        // The newest one stays.
        let mut older = numbers.rev().skip(1).rev();
        let oldest = older.clone().next();
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

    /// Returns the number of the Secret `registry-info` of `namespace`: one more than the last
    /// one if its content differs.
    pub fn number_beside(&mut self, namespace: &str, secret: &SecretData) -> u64 {
        let last = self.beside.get(namespace);
        match last {
            Some((revision, stored)) if stored.secret == *secret => *revision,
            _ => {
                let revision = last.map_or(0, |(revision, _)| *revision) + 1;
                self.beside
                    .insert(namespace.to_owned(), (revision, Arc::new(beside(secret.clone()))));
                revision
            }
        }
    }

    /// Returns the Secret `registry-info` of `namespace` in its last valid form; `None` without
    /// one.
    pub fn beside(&self, namespace: &str) -> Option<(u64, &Arc<Effective>)> {
        self.beside.get(namespace).map(|(revision, effective)| (*revision, effective))
    }

    fn length(&self) -> usize {
        self.data().iter().map(|(key, value)| key.len() + value.len()).sum()
    }
}

/// Returns the declaration of a Secret `registry-info` in a namespace with clusters.
fn beside(secret: SecretData) -> Effective {
    Effective { origin: Origin::RegistryInfo, secret }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        history.record(12, beside(secret(&long.repeat(2))), &BTreeSet::from([1, 9, 11]));
        assert_eq!(numbers(&history), [12]);
    }

    #[test]
    fn changed_registry_info_gets_the_next_number() {
        let mut history = DeclarationHistory::default();
        assert_eq!(history.number_beside("a", &secret("1")), 1);
        assert_eq!(history.number_beside("a", &secret("1")), 1);
        assert_eq!(history.number_beside("b", &secret("1")), 1);
        let mut history = read(&history);
        assert_eq!(history.number_beside("a", &secret("2")), 2);
        assert_eq!(history.beside("a"), Some((2, &Arc::new(beside(secret("2"))))));
    }

    #[test]
    fn values_of_other_writers_are_skipped() {
        let data = [("1", "{}"), ("x", "\u{1}"), ("beside.a", "[]")];
        let data = data.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()));
        assert_eq!(DeclarationHistory::read(&data.into()), DeclarationHistory::default());
    }
}
