//! The controller: looks at everything it is responsible for, and takes the
//! next step wherever one is due.
//!
//! It keeps nothing that could not be read again: every turn begins with what
//! is stored in the cluster. Watches only tell it when to look.

mod certificates;
mod declaration;
mod probe;
mod registration;
mod snapshot;
mod turn;

use std::{sync::Arc, time::Duration};

use image_swap_core::{
    cluster::{
        certificates::{AuthorityId, Published},
        effective::{JET_SYSTEM, REGISTRY_INFO},
        policy::{Earned, Policy, Probe, Wanted},
        repairs::Repairs,
    },
    declaration::UnixTime,
};
use k8s_openapi::api::{
    admissionregistration::v1::MutatingWebhookConfiguration, core::v1::Secret,
    rbac::v1::ClusterRole,
};
use kube::{Api, Client, core::ApiResource};
use tokio::{
    sync::{Notify, oneshot, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tracing::error;

use crate::{
    clock::now,
    events::Events,
    follow,
    health::Health,
    lease::Leadership,
    outline::Glimpse,
    pull_secrets::{Keeper, Order},
    recreated::RecreationWatch,
    release::Release,
    report::{PullSecrets, Recreated, Report},
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
}

/// How often things are looked at that no watch tells of.
#[derive(Clone, Copy, Debug)]
pub struct Intervals {
    /// The clock, and everything else.
    pub look: Duration,
    /// Whether the API server reaches us.
    pub probe: Duration,
    /// Whether the registry can be reached.
    pub registry: Duration,
    /// After a turn that failed.
    pub retry: Duration,
    /// How long a namespace keeps the pull Secret after its last swapped pod.
    pub linger: Duration,
}

impl Default for Intervals {
    fn default() -> Self {
        Self {
            look: Duration::from_secs(15),
            probe: Duration::from_secs(10),
            registry: Duration::from_mins(5),
            retry: Duration::from_secs(1),
            linger: Duration::from_mins(5),
        }
    }
}

/// A controller, leading or not.
pub struct Controller {
    client: Client,
    settings: Settings,
    intervals: Intervals,
    events: Events,
    report: watch::Sender<Report>,
    /// Something changed: time to look.
    changed: Arc<Notify>,
    clock: Box<dyn Fn() -> UnixTime + Send + Sync>,
}

/// What a leader remembers; the next one finds it out again.
struct Memory {
    earned: Option<Earned>,
    probe: Probe,
    published: Published,
    repairs: Repairs,
    /// The authorities of a certificate that somebody else keeps, and since when.
    wanted: Option<(Vec<AuthorityId>, UnixTime)>,
    /// What was last said in events, so that it is said once.
    said: std::collections::HashMap<&'static str, String>,
    namespace_is_there: bool,
    /// The answer of the check that runs.
    checking: Option<oneshot::Receiver<Health>>,
    health: Option<Health>,
    /// The hash of the declaration that was checked, and when the next check is due.
    checked: Option<(String, UnixTime)>,
    /// What the keeper of pull Secrets is to do, and what it did.
    orders: watch::Sender<Order>,
    pull_secrets: watch::Receiver<PullSecrets>,
    /// Pods that are created again and again.
    recreated: watch::Receiver<Vec<Recreated>>,
}

impl Memory {
    fn new(
        orders: watch::Sender<Order>,
        pull_secrets: watch::Receiver<PullSecrets>,
        recreated: watch::Receiver<Vec<Recreated>>,
    ) -> Self {
        Self {
            orders,
            pull_secrets,
            recreated,
            earned: None,
            probe: Probe::Unknown,
            published: Published::default(),
            repairs: Repairs::default(),
            wanted: None,
            said: std::collections::HashMap::new(),
            namespace_is_there: false,
            checking: None,
            health: None,
            checked: None,
        }
    }
}

impl Controller {
    /// A controller called `identity` in events.
    pub fn new(client: &Client, settings: Settings, identity: &str, intervals: Intervals) -> Self {
        Self {
            client: client.clone(),
            events: Events::new(client, &settings.release, identity),
            settings,
            intervals,
            report: watch::Sender::new(Report::default()),
            changed: Arc::default(),
            clock: Box::new(now),
        }
    }

    /// The same by another clock than this machine's: a rotation takes minutes.
    #[must_use]
    pub fn by_clock(mut self, clock: impl Fn() -> UnixTime + Send + Sync + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Follows what the controller sees.
    pub fn report(&self) -> watch::Receiver<Report> {
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
        tasks
    }

    /// Does everything that one controller alone may do.
    async fn lead(&self) {
        let (orders, given) = watch::channel(Order::Rest);
        let (report, kept) = watch::channel(PullSecrets::default());
        let keeper = Keeper {
            client: self.client.clone(),
            release: self.settings.release.clone(),
            events: self.events.clone(),
            orders: given,
            report,
            changed: Arc::clone(&self.changed),
            linger: self.intervals.linger,
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

    /// Takes turn after turn.
    async fn turns(&self, mut memory: Memory) {
        let mut probe_at = Instant::now();
        let mut wait;
        loop {
            match Box::pin(self.turn(&mut memory, (self.clock)())).await {
                Ok(()) => wait = self.intervals.look,
                Err(error) if error.is_conflict() => wait = Duration::ZERO,
                Err(error) => {
                    error!(%error, "a turn failed; what was in force stays");
                    wait = self.intervals.retry;
                }
            }
            let look_at = Instant::now() + wait;
            // A failed turn is not hurried by what it did itself.
            loop {
                tokio::select! {
                    () = self.changed.notified() => break,
                    () = sleep_until(look_at) => break,
                    () = sleep_until(probe_at) => {
                        let before = memory.probe;
                        let is_news = self.probe(&mut memory).await || before != memory.probe;
                        probe_at = Instant::now() + self.until_next_probe(&memory);
                        if is_news {
                            break;
                        }
                    }
                }
            }
        }
    }

    /// Soon while `Fail` is about to be earned: until then pods that nobody reviews are
    /// let through.
    fn until_next_probe(&self, memory: &Memory) -> Duration {
        let is_earned = memory.earned.is_some_and(|it| it.policy(Wanted::Fail) == Policy::Fail);
        match memory.probe {
            Probe::Unknown | Probe::NobodyThere if !is_earned => self.intervals.retry,
            _ => self.intervals.probe,
        }
    }
}

#[cfg(test)]
mod tests {
    use image_swap_core::cluster::policy::LOWER_AFTER;

    use super::*;

    /// `--node-monitor-grace-period` is 50 s (40 s before Kubernetes 1.32), looked at
    /// every 5 s, by a controller manager that may have to be elected first: 15 s.
    #[test]
    fn fail_is_kept_for_longer_than_endpoints_name_replicas_of_a_lost_node() {
        let noticed = Duration::from_secs(50 + 5 + 15);
        assert!(Intervals::default().probe * (LOWER_AFTER - 1) > noticed);
    }
}
