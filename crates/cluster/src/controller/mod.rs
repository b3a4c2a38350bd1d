//! The controller: reads everything it is responsible for, and takes the next step
//! wherever one is due. Each step is tried, whatever becomes of the others.
//!
//! Every reconciliation begins with the objects stored in the cluster. Watches only start
//! one.

mod certificates;
mod declaration;
mod namespace;
mod probe;
mod readiness;
mod registration;
mod snapshot;
mod steps;
mod turn;
mod uninstall;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use image_swap_core::{
    cluster::{
        certificates::{AuthorityId, Published},
        effective::{JET_SYSTEM, REGISTRY_INFO},
        foreign::Sightings,
        policy::{FailureGate, LOWER_AFTER, Wanted},
        repairs::{Repairs, Rewrites},
        webhooks::Desired,
    },
    declaration::{Registry, UnixTime},
    status::{
        CompetitorStatus, ControllerReport, FailingStep, PullSecretStatus, RecreatedPods,
        RegistryStatus,
    },
};
use k8s_openapi::api::{
    admissionregistration::v1::MutatingWebhookConfiguration,
    core::v1::{ConfigMap, Namespace, Secret},
    rbac::v1::ClusterRole,
};
use kube::{Api, Client, Config, core::ApiResource};
use tokio::{
    sync::{Notify, oneshot, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

pub use self::readiness::ReadinessLimits;
use self::{declaration::Declaration, probe::Prober};
use crate::{
    clock::now,
    error::Error,
    events::Events,
    follow,
    lease::Leadership,
    outline::Glimpse,
    pull_secrets::{Keeper, Order},
    recreated::RecreationWatch,
    release::Release,
};

/// What operators decide.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line that goes with any other"
)]
#[derive(Clone, Debug)]
pub struct Settings {
    /// The release.
    pub release: Release,
    /// The Secret with the chart's declaration, in the release's namespace.
    pub chart_secret: Option<String>,
    /// The Service before the admission replicas.
    pub service: String,
    /// Its port.
    pub service_port: u16,
    /// What becomes of ordinary pods that nobody could review.
    pub policy: Wanted,
    /// Seconds that the API server waits for an answer.
    pub timeout_seconds: u8,
    /// Namespaces whose pods are let through unreviewed, if need be.
    pub system_namespaces: Vec<String>,
    /// The label by which namespaces leave or join.
    pub namespace_label: String,
    /// Whether only namespaces labelled `enabled` take part.
    pub opt_in: bool,
    /// Whether swapped pods get a pull Secret.
    pub pull_secrets: bool,
    /// Whether the registrations of dead programs that swap images are removed.
    pub adopt: bool,
    /// Whether pods are changed although another program that swaps images lives.
    pub coexist: bool,
    /// A Secret with a certificate that somebody else keeps.
    pub tls_existing_secret: Option<String>,
    /// The labels with which the namespace of `registry-info` is created if it is absent.
    pub registry_info_labels: BTreeMap<String, String>,
}

/// The times between things that no watch starts, and other waits.
#[derive(Clone, Copy, Debug)]
pub struct Intervals {
    /// Between reconciliations without a change.
    pub look: Duration,
    /// Between the beginnings of two probes of an API server.
    pub probe: Duration,
    /// For which probes have to fail before `Fail` is lowered.
    pub lower: Duration,
    /// Between checks of the registry.
    pub registry: Duration,
    /// After a reconciliation with a step that failed; longer after more of them.
    pub retry: Duration,
    /// Between the beginnings of two reconciliations, at least.
    pub gap: Duration,
    /// For which a namespace keeps the pull Secret after its last swapped pod.
    pub linger: Duration,
    /// For which another program that swaps images has to be without an endpoint before
    /// it counts as dead.
    pub grace: Duration,
}

impl Default for Intervals {
    fn default() -> Self {
        Self {
            look: Duration::from_secs(15),
            probe: Duration::from_secs(10),
            lower: LOWER_AFTER,
            registry: Duration::from_mins(5),
            retry: Duration::from_secs(1),
            gap: Duration::from_millis(100),
            linger: Duration::from_mins(5),
            grace: Duration::from_mins(10),
        }
    }
}

/// A controller, leading or not.
pub struct Controller {
    client: Client,
    /// The way to the API server; `None` if probes use the connections of the client.
    config: Option<Config>,
    settings: Settings,
    intervals: Intervals,
    events: Events,
    report: watch::Sender<ControllerReport>,
    /// Something changed: time to look.
    changed: Arc<Notify>,
    /// The UID of the last mark that a watch showed, deleted or not; `None` if none was.
    last_mark: watch::Sender<Option<String>>,
    clock: Box<dyn Fn() -> UnixTime + Send + Sync>,
}

/// The state of a leader. The next leader finds it out again.
struct Memory {
    started: Instant,
    gate: Option<FailureGate>,
    /// The number of gates that were begun: each is probed for at once.
    gates: usize,
    published: Published,
    /// The registration that was last in place.
    registered: Option<Desired>,
    repairs: Repairs,
    rewrites: Rewrites<String>,
    /// The authorities of a certificate that another program keeps, and since when.
    wanted: Option<(Vec<AuthorityId>, UnixTime)>,
    /// The last note of each Event, so that it is published once.
    said: HashMap<&'static str, String>,
    /// A registration that may be deleted.
    uninstallation: uninstall::Uninstallation,
    /// CompetitorStatus programs that swap images, and their life over time.
    foreign: Vec<CompetitorStatus>,
    sightings: Sightings,
    /// The declaration in force, as it was last read.
    declaration: Option<Declaration>,
    /// The steps that failed last.
    failing: Vec<FailingStep>,
    /// The reconciliations in a row in which a step failed.
    failed: u32,
    /// The report that was last written.
    written: Option<ControllerReport>,
    /// The answer of the check that runs.
    checking: Option<oneshot::Receiver<RegistryStatus>>,
    health: Option<RegistryStatus>,
    /// The registry that was checked, its credential included, and when the next check is due.
    checked: Option<(Registry, UnixTime)>,
    /// The highest revision that was seen.
    revision: u64,
    /// A hash of the declaration with that revision; [`None`] before the first.
    numbered: Option<u64>,
    /// The orders for the keeper of pull Secrets, and its results.
    orders: watch::Sender<Order>,
    pull_secrets: watch::Receiver<PullSecretStatus>,
    /// Pods that are created again and again.
    recreated: watch::Receiver<Vec<RecreatedPods>>,
}

impl Memory {
    fn new(
        orders: watch::Sender<Order>,
        pull_secrets: watch::Receiver<PullSecretStatus>,
        recreated: watch::Receiver<Vec<RecreatedPods>>,
    ) -> Self {
        Self {
            orders,
            pull_secrets,
            recreated,
            started: Instant::now(),
            gate: None,
            gates: 0,
            published: Published::default(),
            registered: None,
            repairs: Repairs::default(),
            rewrites: Rewrites::default(),
            wanted: None,
            said: HashMap::new(),
            uninstallation: uninstall::Uninstallation::default(),
            foreign: Vec::new(),
            sightings: Sightings::default(),
            declaration: None,
            failing: Vec::new(),
            failed: 0,
            written: None,
            checking: None,
            health: None,
            checked: None,
            revision: 0,
            numbered: None,
        }
    }

    /// Keeps `note` as the last one about `topic`. Returns true if it is worth an Event: it
    /// is not empty, and not the one before.
    fn is_news(&mut self, topic: &'static str, note: &str) -> bool {
        let before = self.said.insert(topic, note.to_owned());
        !note.is_empty() && before.as_deref() != Some(note)
    }

    /// Allows a write of `content` to the object `name`, unless it would be one repair
    /// too many.
    fn rewrite(&mut self, name: &str, content: &str, now: UnixTime) -> Result<(), Error> {
        let allowed = self.rewrites.begin(name, &content.to_owned(), now);
        allowed.map_err(|seconds| Error::Paced { name: name.to_owned(), seconds })
    }
}

impl Controller {
    /// A controller called `identity` in events.
    pub fn new(client: &Client, settings: Settings, identity: &str, intervals: Intervals) -> Self {
        Self {
            client: client.clone(),
            config: None,
            events: Events::new(client, &settings.release, identity),
            settings,
            intervals,
            report: watch::Sender::new(ControllerReport::default()),
            changed: Arc::default(),
            last_mark: watch::Sender::new(None),
            clock: Box::new(now),
        }
    }

    /// Probes over connections of their own by `config`: each API server at its own
    /// address, and the address of `config` over a new connection each time.
    #[must_use]
    pub fn probing_by(mut self, config: Config) -> Self {
        self.config = Some(config);
        self
    }

    /// The same by another clock than this machine's: a rotation takes minutes.
    #[must_use]
    pub fn by_clock(mut self, clock: impl Fn() -> UnixTime + Send + Sync + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Follows what the controller sees.
    pub fn report(&self) -> watch::Receiver<ControllerReport> {
        self.report.subscribe()
    }

    /// Works whenever `leadership` says so, for ever.
    pub async fn run(&self, mut leadership: Leadership) {
        let _watching = self.watch();
        while leadership.wait_for(|leads| *leads).await.is_ok() {
            tokio::select! {
                () = self.lead() => {}
                ended = leadership.wait_for(|leads| !leads) => {
                    if ended.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Watches everything that a turn depends on.
    fn watch(&self) -> JoinSet<()> {
        let release = &self.settings.release;
        let mut tasks = JoinSet::new();
        let mut watch = |api: Api<Glimpse>, name: String| {
            tasks.spawn(follow::changes(api, name, Arc::clone(&self.changed)));
        };
        let secrets = |namespace: &str| {
            let kind = ApiResource::erase::<Secret>(&());
            Api::namespaced_with(self.client.clone(), namespace, &kind)
        };
        watch(secrets(JET_SYSTEM), REGISTRY_INFO.to_owned());
        let mut names = vec![release.effective(), release.last_good()];
        match &self.settings.tls_existing_secret {
            Some(name) => names.push(name.clone()),
            None => names.extend([release.authority(), release.certificate()]),
        }
        names.extend(self.settings.chart_secret.clone());
        for name in names {
            watch(secrets(&release.namespace), name);
        }
        let all = |kind: ApiResource| Api::all_with(self.client.clone(), &kind);
        watch(all(ApiResource::erase::<ClusterRole>(&())), release.anchor().to_owned());
        let registrations = ApiResource::erase::<MutatingWebhookConfiguration>(&());
        watch(all(registrations), release.admission());
        // When the namespace is deleted, no replica will answer the API server.
        watch(all(ApiResource::erase::<Namespace>(&())), release.namespace.clone());
        let maps = ApiResource::erase::<ConfigMap>(&());
        let maps = Api::namespaced_with(self.client.clone(), &release.namespace, &maps);
        tasks.spawn(follow::last_uid(maps, release.uninstallation(), self.last_mark.clone()));
        tasks
    }

    /// Does everything that one controller alone may do.
    async fn lead(&self) {
        let (orders, given) = watch::channel(Order::Rest);
        let (report, kept) = watch::channel(PullSecretStatus::default());
        let keeper = Keeper {
            client: self.client.clone(),
            release: self.settings.release.clone(),
            events: self.events.clone(),
            orders: given,
            report,
            changed: Arc::clone(&self.changed),
            linger: self.intervals.linger,
            label: self.settings.namespace_label.clone(),
        };
        let (report, recreated) = watch::channel(Vec::new());
        let recreation_watch = RecreationWatch {
            client: self.client.clone(),
            events: self.events.clone(),
            report,
            changed: Arc::clone(&self.changed),
        };
        tokio::select! {
            () = self.turns(Memory::new(orders, kept, recreated)) => {}
            () = keeper.run() => {}
            () = Box::pin(recreation_watch.run()) => {}
        }
    }

    /// Reconciles again and again.
    async fn turns(&self, mut memory: Memory) {
        let mut prober = Prober::new(self);
        loop {
            let begun = Instant::now();
            let gates = memory.gates;
            let wait = Box::pin(self.turn(&mut memory, (self.clock)())).await;
            if memory.gates != gates {
                prober = Prober::new(self);
            }
            let look_at = Instant::now() + wait;
            let is_registered = !memory.published.ids.is_empty();
            loop {
                tokio::select! {
                    () = self.changed.notified() => {
                        // A change that other writers make again and again.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// `--node-monitor-grace-period` is 50 s (40 s before Kubernetes 1.32), looked at
    /// every 5 s, by a controller manager that may have to be elected first: 15 s.
    #[test]
    fn fail_is_kept_for_longer_than_endpoints_name_replicas_of_a_lost_node() {
        let noticed = Duration::from_secs(50 + 5 + 15);
        assert!(Intervals::default().lower > noticed);
    }
}
