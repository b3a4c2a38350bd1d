//! The fleet controller: one task for each workload cluster, and the decisions that concern
//! several of them.

mod facts;
mod hub;
mod order;
mod pull_task;
mod settings;
mod state;
mod task;
mod tokens;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use image_swap_cluster::{Error, Leadership, clock::now};
use image_swap_core::{
    control::effective::{self, Effective},
    fleet::{
        assignment::{Assignment, AssignmentInput, assign},
        bundle::Bundle,
        history::DeclarationHistory,
        inventory::{
            ClusterKey, ClusterSource, Inventory, InventoryEntry,
            standing::{KnownIdentity, Standing, standings},
        },
        wave::{self, ClusterProgress, WaveCluster, WaveSettings, WaveState},
    },
};
use kube::Client;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::sleep,
};
use tracing::{info, warn};

pub use self::settings::{FleetSettings, FleetTiming};
use self::{
    hub::{HubDeclaration, HubOrder, HubView},
    order::{ClusterOrder, ClusterReport, ClusterTask},
    state::StoredState,
};
use crate::{metrics::FleetReport, objects::WorkloadClusters, sources};

/// Pause after a request to the management cluster failed.
const PAUSE: Duration = Duration::from_secs(5);
/// Time in which changes of several clusters are collected.
const GAP: Duration = Duration::from_millis(20);

/// The fleet controller.
pub struct FleetController {
    client: Client,
    settings: Arc<FleetSettings>,
    report: watch::Sender<FleetReport>,
}

impl FleetController {
    /// Creates a fleet controller of the management cluster of `client`.
    pub fn new(client: &Client, settings: FleetSettings) -> Self {
        Self {
            client: client.clone(),
            settings: Arc::new(settings),
            report: watch::Sender::new(FleetReport::default()),
        }
    }

    /// Returns the report and its changes.
    pub fn report(&self) -> watch::Receiver<FleetReport> {
        self.report.subscribe()
    }

    /// Keeps the workload clusters while `leadership` is true. Returns when the leader election
    /// has ended.
    pub async fn run(&self, mut leadership: Leadership) {
        while leadership.wait_for(|leads| *leads).await.is_ok() {
            tokio::select! {
                () = self.run_as_leader() => {}
                ended = leadership.wait_for(|leads| !leads) => {
                    if ended.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Keeps the workload clusters. Never returns.
    async fn run_as_leader(&self) {
        let (mut inventory, _sources) =
            sources::follow(self.client.clone(), self.settings.sources.clone());
        let (mut hub, _hub) = hub::follow(&self.client, &self.settings);
        let (sender, mut reports) = mpsc::unbounded_channel();
        let mut fleet = loop {
            match self.load(sender.clone()).await {
                Ok(fleet) => break fleet,
                Err(error) => {
                    warn!(%error, "cannot read the state of the fleet");
                    sleep(PAUSE).await;
                }
            }
        };
        let mut is_listed = false;
        loop {
            // The first value is empty: the sources have listed nothing yet.
            is_listed |= inventory.has_changed().is_ok_and(|is_new| is_new);
            if is_listed {
                fleet.inventory = Some(Arc::clone(&inventory.borrow_and_update()));
            }
            let view = hub.borrow_and_update().clone();
            let again = match fleet.reconcile(&view).await {
                Ok(()) => None,
                Err(error) => {
                    warn!(%error, "cannot write the state of the fleet; clusters stay as they are");
                    Some(PAUSE)
                }
            };
            self.report.send_if_modified(|report| {
                let found = fleet.report(&view);
                let differs = *report != found;
                *report = found;
                differs
            });
            let retry = async {
                match again {
                    Some(pause) => sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = inventory.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    is_listed = true;
                }
                changed = hub.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                Some((key, report)) = reports.recv() => fleet.take(&key, report),
                () = retry => {}
            }
            sleep(GAP).await;
            while let Ok((key, report)) = reports.try_recv() {
                fleet.take(&key, report);
            }
        }
    }

    /// Reads the state of a former leader.
    async fn load(
        &self,
        reports: mpsc::UnboundedSender<(ClusterKey, ClusterReport)>,
    ) -> Result<Fleet, Error> {
        let stored = StoredState::load(&self.client, &self.settings).await?;
        let namespaces: Vec<String> = self.settings.sources.namespaces.iter().cloned().collect();
        let objects =
            WorkloadClusters::load(&self.client, &self.settings.release.name, &namespaces).await?;
        let (history, waves) = (stored.history().clone(), stored.waves().clone());
        Ok(Fleet {
            settings: Arc::clone(&self.settings),
            stored,
            history,
            waves,
            rollout: String::new(),
            objects: Arc::new(objects),
            client: self.client.clone(),
            inventory: None,
            clusters: BTreeMap::new(),
            reports,
        })
    }
}

/// Workload clusters and their common state.
struct Fleet {
    settings: Arc<FleetSettings>,
    stored: StoredState,
    history: DeclarationHistory,
    waves: WaveState,
    /// Progress of the rollout, in words.
    rollout: String,
    objects: Arc<WorkloadClusters>,
    client: Client,
    /// Inventory; `None` before it is complete.
    inventory: Option<Arc<Inventory>>,
    clusters: BTreeMap<ClusterKey, RunningCluster>,
    reports: mpsc::UnboundedSender<(ClusterKey, ClusterReport)>,
}

/// Workload cluster with its task.
struct RunningCluster {
    orders: watch::Sender<ClusterOrder>,
    task: JoinHandle<()>,
    report: Option<ClusterReport>,
    /// Identity; `None` before the first contact.
    identity: Option<KnownIdentity>,
    /// Identity that the object has from a former leader.
    former: Option<KnownIdentity>,
}

impl Drop for RunningCluster {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fleet {
    /// Takes the report of a task.
    fn take(&mut self, key: &ClusterKey, report: ClusterReport) {
        let Some(cluster) = self.clusters.get_mut(key) else { return };
        if let Some(uid) = &report.uid
            && cluster.identity.as_ref().is_none_or(|it| it.uid != *uid)
        {
            let former = cluster.former.as_ref().filter(|it| it.uid == *uid).cloned();
            let new = || KnownIdentity { uid: uid.clone(), since: now() };
            cluster.identity = Some(former.unwrap_or_else(new));
        }
        cluster.report = Some(report);
    }

    /// Decides on all clusters, and sends each task its order.
    ///
    /// # Errors
    /// The state cannot be written. No task gets a new order then.
    async fn reconcile(&mut self, hub: &HubView) -> Result<(), Error> {
        let (Some(declaration), Some(bundle), Some(inventory)) =
            (&hub.declaration, &hub.bundle, self.inventory.clone())
        else {
            return Ok(());
        };
        self.record(declaration, &inventory);
        self.stored.store_history(&self.history).await?;
        self.forget_clusters(&inventory).await?;
        let standings = self.standings();
        self.roll_out(declaration, hub.order, (&*inventory, &standings));
        self.stored.store_waves(&self.waves).await?;
        if hub.order == HubOrder::Resume {
            self.stored.end_order().await?;
        }
        let newest = match declaration {
            HubDeclaration::Present(revision, _) => Some(*revision),
            HubDeclaration::Absent => None,
        };
        for (key, entry) in &*inventory {
            let running = self.clusters.get(key);
            let standing = standings.get(key);
            let assignment = assign(&AssignmentInput {
                key,
                entry,
                identity: running.and_then(|it| it.identity.as_ref()).map(|it| it.uid.as_str()),
                duplicate_of: match standing {
                    Some(Standing::DuplicateOf(other)) => Some(other),
                    Some(Standing::InForce { .. }) | None => None,
                },
                history: &self.history,
                is_declared: newest.is_some(),
                waves: &self.waves,
                rollout: &self.rollout,
            });
            let bundle = bundle.clone();
            match self.clusters.get_mut(key) {
                Some(running) => {
                    let entry = Arc::clone(entry);
                    let order = ClusterOrder { entry, assignment, bundle, newest };
                    running.orders.send_if_modified(|before| {
                        let differs = *before != order;
                        *before = order;
                        differs
                    });
                }
                None => self.begin(key, entry, assignment, bundle, newest),
            }
        }
        Ok(())
    }

    /// Starts the task of a new cluster.
    fn begin(
        &mut self,
        key: &ClusterKey,
        entry: &Arc<InventoryEntry>,
        assignment: Assignment,
        bundle: Result<Arc<Bundle>, String>,
        newest: Option<u64>,
    ) {
        let order = ClusterOrder { entry: Arc::clone(entry), assignment, bundle, newest };
        let (orders, receiver) = watch::channel(order);
        let task = ClusterTask {
            key: key.clone(),
            settings: Arc::clone(&self.settings),
            client: self.client.clone(),
            orders: receiver,
            reports: self.reports.clone(),
            objects: Arc::clone(&self.objects),
        };
        let former = self.objects.former_identity(key);
        info!(cluster = %key, "new workload cluster");
        let task = if key.source == ClusterSource::Pull {
            tokio::spawn(task.run_pull())
        } else {
            tokio::spawn(task.run())
        };
        let running = RunningCluster { orders, task, report: None, identity: None, former };
        self.clusters.insert(key.clone(), running);
    }

    /// Records new declarations. An invalid Secret beside the objects of clusters changes nothing.
    fn record(&mut self, declaration: &HubDeclaration, inventory: &Inventory) {
        if let HubDeclaration::Present(revision, effective) = declaration
            && self.history.get(*revision).is_none_or(|it| **it != *effective)
        {
            self.history.record(*revision, effective.clone());
        }
        let mut namespaces = BTreeMap::new();
        for (key, entry) in inventory {
            if let Some(secret) = &entry.registry_info {
                namespaces.entry(&*key.namespace).or_insert(secret);
            }
        }
        for (namespace, secret) in namespaces {
            let last =
                self.history.beside(namespace).map(|(_, effective)| Effective::clone(effective));
            let decision = effective::decide(Some(secret), None, last.as_ref(), now());
            if decision.about.iter().any(|it| it.refused) {
                warn!(namespace, "registry-info of a namespace with clusters is invalid");
            } else {
                self.history.number_beside(namespace, secret);
            }
        }
    }

    /// Ends the tasks of clusters that are not in the inventory any more, and deletes their
    /// objects.
    ///
    /// # Errors
    /// An object cannot be deleted.
    async fn forget_clusters(&mut self, inventory: &Inventory) -> Result<(), Error> {
        let gone: Vec<ClusterKey> =
            self.clusters.keys().filter(|key| !inventory.contains_key(key)).cloned().collect();
        for key in gone {
            // The task writes the object no more.
            if let Some(mut cluster) = self.clusters.remove(&key) {
                cluster.task.abort();
                let _ = (&mut cluster.task).await;
            }
        }
        self.objects.retain(inventory.keys()).await.map(drop)
    }

    /// Decides on the waves of the newest declaration.
    fn roll_out(
        &mut self,
        declaration: &HubDeclaration,
        order: HubOrder,
        (inventory, standings): (&Inventory, &BTreeMap<ClusterKey, Standing>),
    ) {
        let HubDeclaration::Present(wanted, _) = declaration else { return };
        let settings = WaveSettings {
            has_canary: self.settings.canary.is_some(),
            size: self.settings.wave_size,
        };
        let mut clusters = BTreeMap::new();
        for (key, entry) in inventory {
            let is_counted = entry.access.is_usable()
                && !entry.settings.is_paused
                && !entry.settings.is_removed
                && entry.settings.pinned_revision.is_none()
                && entry.registry_info.is_none()
                && !matches!(standings.get(key), Some(Standing::DuplicateOf(_)));
            if !is_counted {
                continue;
            }
            let report = self.clusters.get(key).and_then(|it| it.report.as_ref());
            let progress = match report {
                // No contact yet: the cluster may be unreachable.
                None => ClusterProgress::Unreachable,
                Some(report) if report.progress == ClusterProgress::Unreachable => {
                    ClusterProgress::Unreachable
                }
                Some(report) if report.uid.is_none() => ClusterProgress::Unreachable,
                Some(report) if report.revision == Some(*wanted) => report.progress.clone(),
                Some(_) => ClusterProgress::Pending,
            };
            let canary = self.settings.canary.as_ref();
            let is_canary = canary.is_some_and(|it| it.matches(&entry.labels));
            clusters.insert(key.clone(), WaveCluster { is_canary, progress });
        }
        let stored = if order == HubOrder::Resume {
            std::mem::take(&mut self.waves).resumed()
        } else {
            std::mem::take(&mut self.waves)
        };
        let decision = wave::decide(settings, order.wave(), *wanted, &stored, &clusters);
        if !decision.summary.is_empty() && decision.summary != self.rollout {
            info!(revision = wanted, progress = decision.summary, "rollout to workload clusters");
        }
        self.waves = decision.state;
        self.rollout = decision.summary;
    }

    /// Returns the standing of each cluster whose identity is known.
    fn standings(&self) -> BTreeMap<ClusterKey, Standing> {
        let known = self.clusters.iter();
        let known = known.filter_map(|(key, it)| Some((key.clone(), it.identity.clone()?)));
        standings(&known.collect())
    }

    /// Returns the report for metrics.
    fn report(&self, hub: &HubView) -> FleetReport {
        let mut states: BTreeMap<String, u64> = BTreeMap::new();
        for cluster in self.clusters.values() {
            let state = cluster.report.as_ref().map_or("Pending", |it| &it.state);
            *states.entry(state.to_owned()).or_default() += 1;
        }
        FleetReport {
            states,
            revision: match hub.declaration {
                Some(HubDeclaration::Present(revision, _)) => Some(revision),
                Some(HubDeclaration::Absent) | None => None,
            },
            is_stopped: self.waves.failed.is_some(),
        }
    }
}
