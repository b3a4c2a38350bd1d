//! The inventory as events change it, and the Secrets that it needs. Pure: no I/O and no clock.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    mem,
    sync::Arc,
    time::Duration,
};

use image_swap_core::{
    control::effective::SecretData,
    fleet::inventory::{ClusterKey, EntryAccess, Inventory, InventoryEntry, found::FoundCluster},
    labels::REGISTRY_INFO,
};

use super::{
    event::{ListedSource, SecretKey, SourceEvent},
    secrets::{ReadResult, RegistryInfos},
    settings::SourceSettings,
};

/// The wait after the first failed request for a Secret. Each further failure doubles it.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// The inventory, and the state of its Secrets.
#[derive(Debug, Default)]
pub(super) struct InventoryState {
    inventory: Inventory,
    /// Clusters whose Secret was requested, and others.
    clusters: BTreeMap<ClusterKey, ClusterState>,
    /// Secrets that an entry or a namespace needs, and no others.
    secrets: BTreeMap<SecretKey, SecretState>,
    /// Secrets that are to be requested.
    queue: VecDeque<SecretKey>,
    /// `registry-info` by namespace.
    registry_infos: BTreeMap<String, RegistryInfoState>,
    /// Sources that have not been listed yet.
    unlisted: BTreeSet<ListedSource>,
    /// Sources that the API server has refused to list, and has not listed since.
    refused: BTreeSet<ListedSource>,
    is_changed: bool,
}

#[derive(Debug)]
struct ClusterState {
    found: FoundCluster,
    /// Access by the Secret; `None` until the first request for it has ended.
    access: Option<EntryAccess>,
}

#[derive(Debug, Default)]
struct SecretState {
    /// Entries that use the Secret.
    users: BTreeSet<ClusterKey>,
    phase: ReadPhase,
    /// Version that was read last; `None` if the Secret did not exist.
    version: Option<String>,
    /// Failed requests in a row.
    failures: u32,
    /// Version that the watch reported last; `None` if the Secret did not exist.
    reported: Option<String>,
}

/// Phase of the request for a Secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ReadPhase {
    /// In the queue.
    #[default]
    Queued,
    /// Requested.
    Reading,
    /// Requested; changed since then.
    Stale,
    /// The last request failed; the next one waits.
    Failed,
    /// Read.
    Done,
}

#[derive(Debug, Default)]
enum RegistryInfoState {
    /// Not requested yet.
    #[default]
    Unknown,
    /// The first request failed, for this reason.
    Unreadable(String),
    /// Content; `None` if the Secret does not exist.
    Read(Option<Arc<SecretData>>),
}

impl InventoryState {
    /// Returns the state before the first event.
    pub(super) fn new(settings: &SourceSettings) -> Self {
        let mut state = Self::default();
        for namespace in &settings.namespaces {
            let sources = settings.sources.iter();
            state.unlisted.extend(sources.map(|source| (namespace.clone(), *source)));
            state.registry_infos.insert(namespace.clone(), RegistryInfoState::Unknown);
            let name = REGISTRY_INFO.to_owned();
            state.need(SecretKey { namespace: namespace.clone(), name }, None);
        }
        state
    }

    /// Returns the entries whose Secrets were requested at least once.
    pub(super) const fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// Returns the Secrets `registry-info` that were read.
    pub(super) fn registry_infos(&self) -> RegistryInfos {
        let read = |(namespace, state): (&String, &RegistryInfoState)| match state {
            RegistryInfoState::Read(info) => Some((namespace.clone(), info.clone())),
            RegistryInfoState::Unknown | RegistryInfoState::Unreadable(_) => None,
        };
        self.registry_infos.iter().filter_map(read).collect()
    }

    /// Returns the sources that were refused, and never listed: their clusters are not known.
    pub(super) const fn refused(&self) -> &BTreeSet<ListedSource> {
        &self.refused
    }

    /// Returns true if every source was listed or refused, and every Secret requested once.
    pub(super) fn is_complete(&self) -> bool {
        self.unlisted.is_empty()
            && self.clusters.values().all(|cluster| cluster.access.is_some())
            && self.registry_infos.values().all(|it| !matches!(it, RegistryInfoState::Unknown))
    }

    /// Returns true if the inventory changed since the last call.
    pub(super) fn take_changed(&mut self) -> bool {
        mem::take(&mut self.is_changed)
    }

    /// Returns a Secret that is to be requested now.
    pub(super) fn next_read(&mut self) -> Option<SecretKey> {
        while let Some(key) = self.queue.pop_front() {
            if let Some(secret) = self.secrets.get_mut(&key)
                && secret.phase == ReadPhase::Queued
            {
                secret.phase = ReadPhase::Reading;
                return Some(key);
            }
        }
        None
    }

    /// Applies the report of a watch.
    pub(super) fn apply(&mut self, event: SourceEvent) {
        match event {
            SourceEvent::Listed { namespace, source, clusters } => {
                let listed: BTreeSet<_> = clusters.iter().map(|it| it.key.clone()).collect();
                let is_gone = |key: &&ClusterKey| {
                    key.namespace == namespace && key.source == source && !listed.contains(*key)
                };
                let gone: Vec<_> = self.clusters.keys().filter(is_gone).cloned().collect();
                for key in &gone {
                    self.remove(key);
                }
                for found in clusters {
                    self.change(found);
                }
                let source = (namespace, source);
                self.unlisted.remove(&source);
                self.is_changed |= self.refused.remove(&source);
            }
            SourceEvent::Changed(found) => self.change(*found),
            SourceEvent::Gone(key) => self.remove(&key),
            SourceEvent::Unlisted { namespace, source } => {
                let source = (namespace, source);
                if self.unlisted.remove(&source) {
                    self.refused.insert(source);
                }
            }
            SourceEvent::SecretsListing { namespace } => {
                for (_, secret) in self.secrets_of(&namespace) {
                    secret.reported = None;
                }
            }
            SourceEvent::SecretsListed { namespace } => {
                let is_stale = |it: &SecretState| it.reported.is_none() && it.version.is_some();
                let stale = self.secrets_of(&namespace).filter(|(_, secret)| is_stale(secret));
                let stale: Vec<_> = stale.map(|(key, _)| key.clone()).collect();
                for key in &stale {
                    self.request(key);
                }
            }
            SourceEvent::Secret { secret: key, version } => {
                let Some(secret) = self.secrets.get_mut(&key) else { return };
                let is_current = secret.phase == ReadPhase::Done && secret.version == version;
                secret.reported = version;
                if !is_current {
                    self.request(&key);
                }
            }
        }
    }

    /// Applies the result of a request. Returns the wait until the next one after a failure.
    pub(super) fn loaded(&mut self, key: &SecretKey, result: &ReadResult) -> Option<Duration> {
        // No entry needs the Secret any more.
        let secret = self.secrets.get_mut(key)?;
        let was_reported = secret.phase == ReadPhase::Stale;
        let users = secret.users.clone();
        let wait = if let Ok(found) = result {
            secret.phase = ReadPhase::Done;
            secret.failures = 0;
            secret.version = found.as_ref().map(|it| it.version.clone());
            None
        } else {
            secret.phase = ReadPhase::Failed;
            let doubled = FIRST.saturating_mul(1 << secret.failures.min(5)).min(LONGEST);
            secret.failures = secret.failures.saturating_add(1);
            Some(doubled)
        };
        if was_reported && wait.is_none() && secret.reported != secret.version {
            self.request(key);
        }
        if key.name == REGISTRY_INFO {
            self.set_registry_info(&key.namespace, result);
        }
        for user in &users {
            if let Some(cluster) = self.clusters.get_mut(user) {
                match result {
                    Ok(found) => cluster.access = Some(cluster.found.access(found.as_deref())),
                    // The last access stays in use.
                    Err(reason) => {
                        let waiting = || format!("cannot read the Secret {}: {reason}", key.name);
                        cluster.access.get_or_insert_with(|| EntryAccess::Waiting(waiting()));
                    }
                }
            }
            self.refresh(user);
        }
        wait
    }

    /// Requests a Secret again after a failure.
    pub(super) fn retry(&mut self, key: &SecretKey) {
        if self.secrets.get(key).is_some_and(|secret| secret.phase == ReadPhase::Failed) {
            self.request(key);
        }
    }

    fn change(&mut self, found: FoundCluster) {
        let key = found.key.clone();
        let wanted = secret_of(&found);
        let former = self.clusters.get(&key);
        if former.is_some_and(|it| it.found == found) {
            return;
        }
        let is_same_route = former.is_some_and(|it| it.found.route == found.route);
        let former_secret = former.and_then(|it| secret_of(&it.found));
        let access = match &wanted {
            None => Some(found.access(None)),
            // The last access stays in use until the Secret is read.
            Some(_) => self.clusters.remove(&key).and_then(|it| it.access),
        };
        self.clusters.insert(key.clone(), ClusterState { found, access });
        if former_secret != wanted
            && let Some(secret) = &former_secret
        {
            self.release(secret, &key);
        }
        if let Some(secret) = wanted
            && !is_same_route
        {
            self.need(secret, Some(key.clone()));
        }
        self.refresh(&key);
    }

    fn remove(&mut self, key: &ClusterKey) {
        let Some(cluster) = self.clusters.remove(key) else { return };
        if let Some(secret) = secret_of(&cluster.found) {
            self.release(&secret, key);
        }
        self.is_changed |= self.inventory.remove(key).is_some();
    }

    /// Requests `key`, for `user` or for its namespace.
    fn need(&mut self, key: SecretKey, user: Option<ClusterKey>) {
        if let Some(secret) = self.secrets.get_mut(&key) {
            secret.users.extend(user);
            self.request(&key);
        } else {
            let users = user.into_iter().collect();
            self.secrets.insert(key.clone(), SecretState { users, ..SecretState::default() });
            self.queue.push_back(key);
        }
    }

    /// Forgets that `user` needs the Secret `key`, and the Secret with its last user.
    fn release(&mut self, key: &SecretKey, user: &ClusterKey) {
        let Some(secret) = self.secrets.get_mut(key) else { return };
        secret.users.remove(user);
        if secret.users.is_empty() && key.name != REGISTRY_INFO {
            self.secrets.remove(key);
        }
    }

    /// Queues a request for a Secret that is needed.
    fn request(&mut self, key: &SecretKey) {
        let Some(secret) = self.secrets.get_mut(key) else { return };
        match secret.phase {
            ReadPhase::Queued | ReadPhase::Stale => {}
            ReadPhase::Reading => secret.phase = ReadPhase::Stale,
            ReadPhase::Failed | ReadPhase::Done => {
                secret.phase = ReadPhase::Queued;
                self.queue.push_back(key.clone());
            }
        }
    }

    fn set_registry_info(&mut self, namespace: &str, result: &ReadResult) {
        let Some(state) = self.registry_infos.get_mut(namespace) else { return };
        let next = match (result, &*state) {
            // The last content stays in force after an error.
            (Ok(None), RegistryInfoState::Read(None)) | (Err(_), RegistryInfoState::Read(_)) => {
                return;
            }
            (Ok(None), _) => RegistryInfoState::Read(None),
            (Ok(Some(found)), RegistryInfoState::Read(Some(last))) if **last == found.secret => {
                return;
            }
            (Ok(Some(found)), _) => RegistryInfoState::Read(Some(Arc::new(found.secret.clone()))),
            (Err(reason), _) => RegistryInfoState::Unreadable(reason.clone()),
        };
        // Machine templates need it before the first cluster. The first absence is no change.
        let is_absent = matches!(next, RegistryInfoState::Read(None));
        let is_first = matches!(state, RegistryInfoState::Unknown);
        self.is_changed |= matches!(next, RegistryInfoState::Read(_)) && !(is_first && is_absent);
        *state = next;
        let of_namespace = self.clusters.keys().filter(|key| key.namespace == namespace);
        let keys: Vec<_> = of_namespace.cloned().collect();
        for key in &keys {
            self.refresh(key);
        }
    }

    /// Updates the entry `key` of the inventory.
    fn refresh(&mut self, key: &ClusterKey) {
        let Some(cluster) = self.clusters.get(key) else { return };
        let (Some(access), Some(info)) =
            (cluster.access.clone(), self.registry_infos.get(&key.namespace))
        else {
            return;
        };
        let (access, registry_info) = match info {
            RegistryInfoState::Unknown => return,
            RegistryInfoState::Read(info) => (access, info.clone()),
            RegistryInfoState::Unreadable(reason) => {
                let reason = format!("cannot read the Secret {REGISTRY_INFO}: {reason}");
                (EntryAccess::Waiting(reason), None)
            }
        };
        let FoundCluster { origin, labels, settings, .. } = cluster.found.clone();
        let entry = InventoryEntry { origin, access, settings, registry_info, labels };
        if self.inventory.get(key).is_none_or(|last| **last != entry) {
            self.inventory.insert(key.clone(), Arc::new(entry));
            self.is_changed = true;
        }
    }

    /// Returns the Secrets of `namespace` that are needed.
    fn secrets_of<'s>(
        &'s mut self,
        namespace: &'s str,
    ) -> impl Iterator<Item = (&'s SecretKey, &'s mut SecretState)> {
        self.secrets.iter_mut().filter(move |(key, _)| key.namespace == namespace)
    }
}

fn secret_of(found: &FoundCluster) -> Option<SecretKey> {
    let name = found.secret()?.to_owned();
    Some(SecretKey { namespace: found.key.namespace.clone(), name })
}

#[cfg(test)]
mod tests;
