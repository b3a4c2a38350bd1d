//! The loop of the controller that leads.

use std::{future::pending, sync::Arc, time::Duration};

use image_swap_core::labels::{JET_SYSTEM, REGISTRY_INFO};
use k8s_openapi::api::{
    admissionregistration::v1::MutatingWebhookConfiguration,
    core::v1::{ConfigMap, Namespace, Secret},
    rbac::v1::ClusterRole,
};
use kube::Api;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{context::Controller, probe::Prober, state::ReconcileState};
use crate::{
    api::{all, namespaced},
    heartbeat::Heartbeat,
    hub::HubPull,
    lease::Leadership,
    nodes::{self, NodeController},
    object_watch::changes,
    partial_meta::MetadataObject,
    pod_census::PodCensus,
    pull_secrets::PullSecretController,
    recreated::RecreationWatch,
};

/// Longest time for which a deleted Secret of nodes stays away.
const STAY_AWAY: Duration = Duration::from_secs(10);

impl Controller {
    /// Reconciles while `leadership` is true. Never returns.
    pub async fn run(&self, mut leadership: Leadership) {
        let _watching = self.watch();
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

    /// Watches all objects on which a reconciliation depends.
    fn watch(&self) -> JoinSet<()> {
        let (client, release) = (&self.client, &self.settings.release);
        let mut tasks = JoinSet::new();
        let mut watch = |api: Api<MetadataObject>, name: String| {
            let changed = Arc::clone(&self.changed);
            tasks.spawn(changes(api, name, Box::new(move |_| changed.notify_one())));
        };
        watch(namespaced::<Secret, _>(client, JET_SYSTEM), REGISTRY_INFO.to_owned());
        let mut names = vec![release.effective(), release.last_good()];
        match &self.settings.tls_existing_secret {
            Some(name) => names.push(name.clone()),
            None => names.extend([release.authority(), release.certificate()]),
        }
        names.extend(self.settings.chart_secret.clone());
        for name in names {
            watch(namespaced::<Secret, _>(client, &release.namespace), name);
        }
        watch(all::<ClusterRole, _>(client), release.anchor().to_owned());
        watch(all::<MutatingWebhookConfiguration, _>(client), release.admission());
        // When the namespace is deleted, no replica will answer the API server.
        watch(all::<Namespace, _>(client), release.namespace.clone());
        let maps = namespaced::<ConfigMap, _>(client, &release.namespace);
        let mark = self.mark.clone();
        let on_change = move |map: Option<MetadataObject>| {
            mark.send_modify(|mark| mark.note(map.and_then(|map| map.metadata.names.uid)));
        };
        tasks.spawn(changes(maps, release.uninstallation(), Box::new(on_change)));
        if self.settings.agents.is_some() {
            let stored = self.stored_nodes.clone();
            tasks.spawn(nodes::follow(client.clone(), release.clone(), stored));
        }
        tasks
    }

    /// Runs the tasks that only the leader may run.
    async fn run_as_leader(&self) {
        let memory = ReconcileState::default();
        let keeper = PullSecretController {
            client: self.client.clone(),
            release: self.settings.release.clone(),
            events: self.events.clone(),
            orders: memory.orders.subscribe(),
            report: memory.pull_secrets.clone(),
            changed: Arc::clone(&self.changed),
            linger: self.intervals.linger,
            label: self.settings.namespace_label.clone(),
        };
        let recreation_watch = RecreationWatch {
            client: self.client.clone(),
            events: self.events.clone(),
            report: memory.recreated.clone(),
            changed: Arc::clone(&self.changed),
        };
        let node_controller = self.settings.agents.clone().map(|settings| NodeController {
            client: self.client.clone(),
            config: self.config.clone(),
            release: self.settings.release.clone(),
            events: self.events.clone(),
            settings,
            orders: memory.node_orders.subscribe(),
            stored: self.stored_nodes.clone(),
            mark: self.mark.subscribe(),
            report: memory.agents.clone(),
            obstacle: memory.node_obstacle.clone(),
            in_force: memory.nodes_in_force.clone(),
            changed: Arc::clone(&self.changed),
            gap: self.intervals.gap,
            linger: self.intervals.linger.min(STAY_AWAY),
        });
        let count = watch::Sender::new(None);
        let pods = count.subscribe();
        let heartbeat = Box::pin(self.send_heartbeats(&memory, count));
        let hub = self.settings.hub_secret.clone().map(|secret| HubPull {
            client: self.client.clone(),
            release: self.settings.release.clone(),
            secret,
            service: self.settings.service.clone(),
            identity: self.identity.clone(),
            report: self.report.subscribe(),
            pods,
            obstacle: memory.hub_obstacle.clone(),
            changed: Arc::clone(&self.changed),
            clock: &*self.clock,
            interval: self.intervals.hub,
            gap: self.intervals.heartbeat_gap,
            pauses: self.intervals.hub_retry,
        });
        let hub = async {
            match hub {
                Some(hub) => Box::pin(hub.run()).await,
                None => pending().await,
            }
        };
        let nodes = async {
            match node_controller {
                Some(controller) => Box::pin(controller.run()).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = self.run_reconcile_loop(memory) => {}
            () = keeper.run() => {}
            () = nodes => {}
            () = heartbeat => {}
            () = hub => {}
            () = Box::pin(recreation_watch.run()) => {}
        }
    }

    /// Sends heartbeats, if they are configured, and counts pods for them. Never returns.
    fn send_heartbeats(
        &self,
        memory: &ReconcileState,
        count: watch::Sender<Option<u32>>,
    ) -> impl Future<Output = ()> + use<> {
        let tasks = self.settings.heartbeat.then(|| {
            let heartbeat = Heartbeat {
                client: self.client.clone(),
                release: self.settings.release.clone(),
                service: self.settings.service.clone(),
                identity: self.identity.clone(),
                report: self.report.subscribe(),
                pods: count.subscribe(),
                interval: self.intervals.heartbeat,
                gap: self.intervals.heartbeat_gap,
            };
            let census = PodCensus {
                client: self.client.clone(),
                declaration: memory.counted.subscribe(),
                by_nodes: self.settings.agents.is_some(),
                count,
                interval: self.intervals.census,
                gap: self.intervals.heartbeat_gap,
            };
            (heartbeat, census)
        });
        async {
            match tasks {
                Some((heartbeat, census)) => {
                    tokio::join!(heartbeat.run(), census.run());
                }
                None => pending().await,
            }
        }
    }

    /// Reconciles after each change, and at the end of each interval.
    async fn run_reconcile_loop(&self, mut memory: ReconcileState) {
        let mut prober = Prober::new(self);
        loop {
            let begun = Instant::now();
            let gates = memory.gates;
            let wait = Box::pin(self.reconcile(&mut memory, (self.clock)())).await;
            if memory.gates != gates {
                prober = Prober::new(self);
            }
            let look_at = Instant::now() + wait;
            let is_registered = !memory.published.ids.is_empty();
            loop {
                tokio::select! {
                    () = self.changed.notified() => {
                        // Limits the rate of reconciliations if other writers change objects again
                        // and again.
                        sleep_until(begun + self.intervals.gap).await;
                        break;
                    }
                    () = sleep_until(look_at) => break,
                    () = sleep_until(prober.due()), if is_registered => prober.begin(),
                    Some(outcome) = prober.finished() => {
                        let gate = memory.gate.as_mut();
                        if gate.is_some_and(|gate| prober.note(&outcome, gate)) {
                            break;
                        }
                    }
                }
            }
        }
    }
}
