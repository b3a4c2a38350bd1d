//! The loop of the controller that leads.

use std::sync::Arc;

use image_swap_core::{
    labels::{JET_SYSTEM, REGISTRY_INFO},
    status::PullSecretStatus,
};
use k8s_openapi::api::{
    admissionregistration::v1::MutatingWebhookConfiguration,
    core::v1::{ConfigMap, Namespace, Secret},
    rbac::v1::ClusterRole,
};
use kube::{Api, core::ApiResource};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{context::Controller, probe::Prober, state::ReconcileState};
use crate::{
    lease::Leadership,
    object_watch,
    partial_meta::ObjectVersion,
    pull_secrets::{DesiredPullSecret, PullSecretController},
    recreated::RecreationWatch,
};

impl Controller {
    /// Works whenever `leadership` says so, for ever.
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

    /// Watches everything that a turn depends on.
    fn watch(&self) -> JoinSet<()> {
        let release = &self.settings.release;
        let mut tasks = JoinSet::new();
        let mut watch = |api: Api<ObjectVersion>, name: String| {
            tasks.spawn(object_watch::changes(api, name, Arc::clone(&self.changed)));
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
        tasks.spawn(object_watch::last_uid(maps, release.uninstallation(), self.last_mark.clone()));
        tasks
    }

    /// Does everything that one controller alone may do.
    async fn run_as_leader(&self) {
        let (orders, given) = watch::channel(DesiredPullSecret::Unknown);
        let (report, kept) = watch::channel(PullSecretStatus::default());
        let keeper = PullSecretController {
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
            () = self.run_reconcile_loop(ReconcileState::new(orders, kept, recreated)) => {}
            () = keeper.run() => {}
            () = Box::pin(recreation_watch.run()) => {}
        }
    }

    /// Reconciles again and again.
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
