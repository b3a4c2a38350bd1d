//! The fleet controller: one task for each workload cluster, and the decisions that concern
//! several of them.

mod assigned;
mod bootstrap;
mod ends;
mod facts;
mod filled;
mod hub;
mod members;
pub(crate) mod namespaces;
mod order;
mod progress;
mod pull_task;
mod rollout;
mod secrets;
mod settings;
mod state;
mod task;
mod tenants;
mod tokens;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use image_swap_cluster::{Error, Leadership};
use image_swap_core::{
    control::effective::SecretData,
    fleet::{
        history::DeclarationHistory,
        inventory::{
            ClusterKey, ClusterSource,
            standing::{KnownIdentity, Standing},
        },
    },
};
use kube::Client;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};
use tracing::{info, warn};

pub use self::settings::{FleetSettings, FleetTiming};
use self::{
    bootstrap::BootstrapSecrets,
    ends::AttemptEnds,
    filled::FilledBundles,
    hub::{HubDeclaration, HubOrder, HubView},
    namespaces::NamespaceSecrets,
    order::{ClusterOrder, ClusterReport, ClusterTask},
    state::{FleetRollouts, StoredState},
};
use crate::{
    events::FleetEvents,
    metrics::FleetReport,
    objects::WorkloadClusters,
    sources::{self, ListedInventory, RegistryInfos},
};

/// Pause after a request to the management cluster failed.
const PAUSE: Duration = Duration::from_secs(5);
/// Shortest time between two reconciliations, in which changes of several clusters are collected.
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

    /// Keeps the declaration in force on the workload clusters while `leadership` is true. Returns
    /// when the leader election has ended.
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

    /// Keeps the declaration in force on the workload clusters. Never returns.
    async fn run_as_leader(&self) {
        let (mut inventory, _sources) =
            sources::follow(self.client.clone(), self.settings.sources.clone());
        let (mut hub, _hub) = hub::follow(&self.client, &self.settings);
        let no_namespaces = BTreeSet::new();
        let namespaces = &self.settings.sources.namespaces;
        let namespaces = self.settings.bootstrap.map_or(&no_namespaces, |_| namespaces);
        let (mut scripts, _scripts) = bootstrap::follow(&self.client, namespaces);
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
        let ends = Arc::clone(&fleet.ends);
        let mut is_listed = false;
        // Latest time to store the decisions; `None` once they are stored.
        let mut store_by = None;
        loop {
            // The first value is empty: the sources have listed nothing yet.
            is_listed |= inventory.has_changed().is_ok_and(|is_new| is_new);
            if is_listed {
                fleet.inventory = Some(Arc::clone(&inventory.borrow_and_update()));
            }
            let view = hub.borrow_and_update().clone();
            let written = fleet.reconcile(&view).await;
            let mut again = repetition(written).or(fleet.has_gone.then_some(PAUSE));
            let latest = *store_by.get_or_insert_with(AttemptEnds::latest);
            let settled = Instant::now() + GAP;
            self.report.send_if_modified(|report| {
                let found = fleet.report(&view);
                let differs = *report != found;
                *report = found;
                differs
            });
            loop {
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
                    Some(namespace) = scripts.recv() => fleet.compare_script(&namespace),
                    () = ends.settle_by(latest), if store_by.is_some() => {
                        store_by = None;
                        again = repetition(fleet.store().await).or(again);
                        continue;
                    }
                    () = retry => {}
                }
                break;
            }
            sleep_until(settled).await;
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
        let (own, release) = (&self.settings.namespace, &self.settings.release);
        let events = FleetEvents::start(&self.client, own, release);
        let objects =
            WorkloadClusters::load(&self.client, &release.name, &namespaces, events.clone())
                .await?;
        let (mut history, rollouts) = (stored.history().clone(), stored.rollouts().clone());
        let namespaces = NamespaceSecrets::new(&self.client, &self.settings);
        for (namespace, own) in namespaces.load(&self.settings.sources.namespaces).await? {
            history.set_beside(namespace, own);
        }
        Ok(Fleet {
            settings: Arc::clone(&self.settings),
            stored,
            namespaces,
            judged: BTreeMap::new(),
            history,
            rollouts,
            progress: RolloutTexts::default(),
            reasons: RolloutTexts::default(),
            objects: Arc::new(objects),
            events,
            filled: Arc::default(),
            ends: Arc::default(),
            client: self.client.clone(),
            bootstrap: BootstrapSecrets::new(&self.client, &self.settings),
            inventory: None,
            joined: None,
            standings: None,
            uid: hub::identity(&self.client).await?,
            order: HubOrder::Continue,
            resumed: 0,
            has_gone: true,
            clusters: BTreeMap::new(),
            reports,
        })
    }
}

/// Returns the pause before a failed write of the state is repeated; `None` after a success.
fn repetition(written: Result<(), Error>) -> Option<Duration> {
    let error = written.err()?;
    warn!(%error, "cannot write the state of the fleet");
    Some(PAUSE)
}

/// Workload clusters and their common state.
struct Fleet {
    settings: Arc<FleetSettings>,
    stored: StoredState,
    namespaces: NamespaceSecrets,
    /// Secrets `registry-info` that the history contains.
    judged: BTreeMap<String, Option<Arc<SecretData>>>,
    history: DeclarationHistory,
    rollouts: FleetRollouts,
    /// Progress.
    progress: RolloutTexts,
    /// Reasons of the clusters that wait.
    reasons: RolloutTexts,
    objects: Arc<WorkloadClusters>,
    events: FleetEvents,
    filled: Arc<FilledBundles>,
    ends: Arc<AttemptEnds>,
    client: Client,
    /// Bootstrap scripts; `None` if new machines get none.
    bootstrap: Option<BootstrapSecrets>,
    /// Inventory; `None` before it is complete.
    inventory: Option<Arc<ListedInventory>>,
    /// Inventory whose former members are forgotten; `None` before the first.
    joined: Option<Arc<ListedInventory>>,
    /// Standings of the clusters; `None` after a change of their identities.
    standings: Option<Arc<BTreeMap<ClusterKey, Standing>>>,
    /// UID of the management cluster's namespace `kube-system`; `None` if it cannot be read.
    uid: Option<String>,
    /// Last order of an administrator.
    order: HubOrder,
    /// Number of times that an administrator resumed the rollout.
    resumed: u64,
    /// True if clusters may have left the inventory whose tokens are not deleted yet.
    has_gone: bool,
    clusters: BTreeMap<ClusterKey, RunningCluster>,
    reports: mpsc::UnboundedSender<(ClusterKey, ClusterReport)>,
}

/// Texts about the rollouts; empty for one that has ended.
#[derive(Default)]
struct RolloutTexts {
    declaration: String,
    bundle: String,
}

/// Workload cluster with its task.
struct RunningCluster {
    orders: watch::Sender<ClusterOrder>,
    task: JoinHandle<()>,
    report: Option<ClusterReport>,
    /// Identity; `None` before the first contact.
    identity: Option<KnownIdentity>,
    /// Version of the access by which the identity was read.
    version: String,
    /// Identity that the object has from a former leader.
    former: Option<KnownIdentity>,
}

impl Drop for RunningCluster {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fleet {
    /// Decides on all clusters, and sends each task its order.
    ///
    /// # Errors
    /// The declaration of a namespace cannot be written, or with waves the state of the rollouts. In
    /// the latter case no task gets a new order.
    async fn reconcile(&mut self, hub: &HubView) -> Result<(), Error> {
        let (Some(declaration), Some(bundle), Some(inventory)) =
            (&hub.declaration, &hub.bundle, self.inventory.clone())
        else {
            return Ok(());
        };
        self.record(declaration, &inventory);
        let recorded = self.record_namespaces(&inventory.registry_infos).await;
        if self.has_gone || !self.joined.as_ref().is_some_and(|it| Arc::ptr_eq(it, &inventory)) {
            self.forget_clusters(&inventory).await;
            for key in inventory.clusters.keys().filter(|key| !self.clusters.contains_key(key)) {
                self.objects.read_refused(&key.namespace).await;
            }
            self.joined = Some(Arc::clone(&inventory));
        }
        let standings = self.standings();
        let is_resumed = hub.order == HubOrder::Resume && self.order != HubOrder::Resume;
        self.order = hub.order;
        if is_resumed {
            self.resumed += 1;
            self.rollouts = std::mem::take(&mut self.rollouts).resumed();
        }
        let newest = match declaration {
            HubDeclaration::Present(revision, _) => Some(*revision),
            HubDeclaration::Absent => None,
        };
        // The declaration reaches no cluster that waits for its first bundle.
        if let Ok(bundle) = bundle {
            self.roll_out_bundle(&bundle.hash, newest.is_some(), (&inventory, &standings));
        }
        self.roll_out(newest, (&inventory, &standings));
        // The management cluster has the newest declaration, too: without waves, no cluster waits for
        // the state.
        if !self.settings.waves().is_off() {
            self.stored.store_rollouts(&self.rollouts, &self.events).await?;
        }
        if hub.order == HubOrder::Resume {
            self.stored.end_order().await?;
        }
        let mut is_sent = false;
        for (key, entry) in &inventory.clusters {
            let order = self.order_for((key, entry), standings.get(key), bundle, newest);
            if let Some(running) = self.clusters.get_mut(key) {
                is_sent |= running.orders.send_if_modified(|before| {
                    let differs = *before != order;
                    *before = order;
                    differs
                });
            } else {
                self.begin(key, order);
                is_sent = true;
            }
        }
        if is_sent {
            self.ends.note();
        }
        recorded
    }

    /// Stores the decisions, and writes the bootstrap scripts. Requests to workload clusters precede
    /// both.
    ///
    /// # Errors
    /// The state of the rollouts, the history or a bootstrap script cannot be written.
    async fn store(&mut self) -> Result<(), Error> {
        let Some(inventory) = self.joined.clone() else { return Ok(()) };
        self.stored.store_rollouts(&self.rollouts, &self.events).await?;
        let stored = self.stored.store_history(&self.history).await;
        let written = self.write_bootstrap(&inventory.registry_infos).await;
        written.and(stored)
    }

    /// Compares the bootstrap script in `namespace` at the next reconciliation.
    fn compare_script(&mut self, namespace: &str) {
        if let Some(secrets) = &mut self.bootstrap {
            secrets.forget(namespace);
        }
    }

    /// Stores the bootstrap script of new machines: that of the last valid declaration, whether or
    /// not the management cluster still has it.
    ///
    /// # Errors
    /// A Secret cannot be read or written.
    async fn write_bootstrap(&mut self, registry_infos: &RegistryInfos) -> Result<(), Error> {
        let Some(secrets) = &mut self.bootstrap else { return Ok(()) };
        let history = &self.history;
        let declaration = |namespace: &str| match registry_infos.get(namespace)? {
            Some(_) => history.beside(namespace)?.effective.as_ref(),
            None => history.newest().map(|(_, effective)| effective),
        };
        secrets.reconcile(&self.settings.sources.namespaces, declaration).await
    }

    /// Starts the task of a new cluster.
    fn begin(&mut self, key: &ClusterKey, order: ClusterOrder) {
        let former = self.objects.former_identity(key, &order.entry.origin);
        self.standings = None;
        let (orders, receiver) = watch::channel(order);
        let task = ClusterTask {
            key: key.clone(),
            settings: Arc::clone(&self.settings),
            client: self.client.clone(),
            orders: receiver,
            reports: self.reports.clone(),
            objects: Arc::clone(&self.objects),
            filled: Arc::clone(&self.filled),
            ends: Arc::clone(&self.ends),
        };
        info!(cluster = %key, "new workload cluster");
        let task = if key.source == ClusterSource::Pull {
            tokio::spawn(task.run_pull())
        } else {
            tokio::spawn(task.run())
        };
        let version = String::new();
        let running =
            RunningCluster { orders, task, report: None, identity: None, version, former };
        self.clusters.insert(key.clone(), running);
    }

    /// Records the declaration of the management cluster.
    fn record(&mut self, declaration: &HubDeclaration, inventory: &ListedInventory) {
        if let HubDeclaration::Present(revision, effective) = declaration
            && self.history.newest().is_none_or(|it| it.0 != *revision || **it.1 != *effective)
        {
            let in_use = self.revisions_in_use(inventory);
            self.history.record(*revision, effective.clone(), &in_use);
        }
    }
}
