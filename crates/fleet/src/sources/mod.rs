//! Sources of the inventory: objects of the management cluster.
//!
//! Watches of Secrets are limited to metadata, and a Secret is read only if an entry names it. A
//! kubeconfig is kept in its parsed form alone.

mod discovery;
mod event;
mod inventory;
mod secrets;
mod settings;
mod watches;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use image_swap_core::fleet::inventory::{ClusterKey, ClusterSource, Inventory};
use kube::Client;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::sleep,
};
use tracing::info;

pub(crate) use self::discovery::{ApiKind, served};
pub use self::{
    event::ListedSource,
    secrets::RegistryInfos,
    settings::{SEARCH_INTERVAL, SourceSettings},
};
use self::{
    event::{SecretKey, SourceEvent},
    inventory::InventoryState,
    secrets::read,
    watches::{follow_objects, follow_secrets},
};

/// Events that wait for the inventory.
const EVENTS: usize = 256;
/// Limit of Secrets that are read at a time.
const READS: usize = 8;

/// Inventory, as far as the API server lists it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListedInventory {
    /// Workload clusters.
    pub clusters: Inventory,
    /// Secrets `registry-info`, also of namespaces without clusters.
    pub registry_infos: RegistryInfos,
    /// Sources that the API server refuses to list. Their clusters are unknown, not gone.
    pub refused: BTreeSet<ListedSource>,
}

impl ListedInventory {
    /// Returns the objects of the clusters, as `NAMESPACE/NAME`.
    pub fn objects(&self) -> BTreeSet<String> {
        self.clusters.keys().map(ToString::to_string).collect()
    }

    /// Returns true if the cluster with the object `NAMESPACE/NAME` would be listed.
    pub fn is_listed(&self, object: &str) -> bool {
        let namespace = object.split('/').next().unwrap_or_default();
        !self.refused.contains(&(namespace.to_owned(), ClusterKey::source_of(object)))
    }
}

/// Follows the inventory until the tasks are dropped.
///
/// The first value is empty. The first change is the first inventory in which every watch has
/// listed its objects, or is refused by the API server, and every Secret was requested once. A
/// failing API server changes nothing: the last inventory stays.
pub fn follow(
    client: Client,
    settings: SourceSettings,
) -> (watch::Receiver<Arc<ListedInventory>>, JoinSet<()>) {
    let (inventory, receiver) = watch::channel(Arc::default());
    let (events, queue) = mpsc::channel(EVENTS);
    let settings = Arc::new(settings);
    let mut tasks = JoinSet::new();
    for namespace in &settings.namespaces {
        let watch =
            follow_secrets(client.clone(), namespace.clone(), settings.clone(), events.clone());
        tasks.spawn(watch);
    }
    for source in [ClusterSource::ClusterApi, ClusterSource::ClusterProfile] {
        if settings.sources.contains(&source) && !settings.namespaces.is_empty() {
            let watch = follow_objects(client.clone(), source, settings.clone(), events.clone());
            tasks.spawn(watch);
        }
    }
    let state = InventoryState::new(&settings);
    tasks.spawn(publish(client, state, queue, events, inventory));
    (receiver, tasks)
}

/// Applies events, reads the Secrets that entries name, and publishes each change. `_events` keeps
/// the channel open without any watch.
async fn publish(
    client: Client,
    mut state: InventoryState,
    mut queue: mpsc::Receiver<SourceEvent>,
    _events: mpsc::Sender<SourceEvent>,
    inventory: watch::Sender<Arc<ListedInventory>>,
) {
    let mut batch = Vec::new();
    let mut reads = JoinSet::new();
    let mut retries: JoinSet<SecretKey> = JoinSet::new();
    let mut is_published = false;
    loop {
        while reads.len() < READS
            && let Some(secret) = state.next_read()
        {
            reads.spawn(read(client.clone(), secret));
        }
        // Later, a cluster whose Secret is being read delays no other.
        if is_published || state.is_complete() {
            if !is_published {
                info!(clusters = state.inventory().len(), "the inventory is complete");
            }
            if state.take_changed() || !is_published {
                inventory.send_replace(Arc::new(ListedInventory {
                    clusters: state.inventory().clone(),
                    registry_infos: state.registry_infos(),
                    refused: state.refused().clone(),
                }));
            }
            is_published = true;
        }
        tokio::select! {
            _ = queue.recv_many(&mut batch, EVENTS) => {
                for event in batch.drain(..) {
                    state.apply(event);
                }
            }
            Some(Ok((secret, result))) = reads.join_next() => {
                if let Some(wait) = state.loaded(&secret, &result) {
                    retries.spawn(retry(secret, wait));
                }
            }
            Some(Ok(secret)) = retries.join_next() => state.retry(&secret),
        }
    }
}

async fn retry(secret: SecretKey, wait: Duration) -> SecretKey {
    sleep(wait).await;
    secret
}
