//! One reconciliation: every step, once.

use std::{sync::Arc, time::Duration};

use image_swap_core::{
    admission::Mode,
    control::{
        effective::Effective,
        node_gate::PodSwapping,
        policy::{FailurePolicy, FailurePolicyGate, Probe},
        trust::NodeTrust,
        webhooks::Anchor,
    },
    declaration::{Registry, UnixTime},
    status::{AdmissionStatus, AgentsStatus, ControllerReport, RegistryStatus, listed},
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{api::DynamicObject, runtime::events::EventType};
use serde_json::json;
use tokio::{
    sync::oneshot::{self, error::TryRecvError},
    time::timeout,
};

use super::{
    certificates::ServingCertificates,
    context::Controller,
    registration::FOREIGN,
    settings::Intervals,
    state::{DeclarationInForce, PullSecretContent, ReconcileState},
    steps::StepErrors,
};
use crate::{
    api, clock,
    error::Error,
    health::check,
    nodes::NodeOrders,
    pull_secrets::{DesiredPullSecret, SecretScope},
    report::{self, send_new},
    secret,
};

/// The time for one step. A slow webhook of another program must not delay the others
/// for long.
const STEP: Duration = Duration::from_secs(10);

/// Returns the result of a step, or an error if it takes too long.
async fn soon<T>(step: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(STEP, step).await.unwrap_or(Err(Error::Late(STEP.as_secs())))
}

impl Controller {
    /// Reconciles once. A failed step does not keep others from being taken. Returns the time until
    /// the next reconciliation if nothing changes.
    pub(super) async fn reconcile(&self, memory: &mut ReconcileState, now: UnixTime) -> Duration {
        let mut steps = StepErrors::default();
        let result = Box::pin(self.take_steps(memory, &mut steps, now)).await;
        steps.take("release", result);
        steps.log(memory);
        memory.failed = if steps.is_empty() { 0 } else { memory.failed.saturating_add(1) };
        let wait = self.wait(&steps, memory.failed);
        steps.delayed.map_or(wait, |delay| wait.min(delay))
    }

    /// Returns a wait that grows with the failures in a row. After a conflict it is
    /// short: another writer was quicker, and its object has to be read.
    fn wait(&self, steps: &StepErrors, failed: u32) -> Duration {
        let Intervals { look, retry, .. } = self.intervals;
        let first = if steps.are_conflicts() { retry / 5 } else { retry };
        match failed {
            0 => look,
            _ => first.saturating_mul(2_u32.saturating_pow(failed - 1)).min(look),
        }
    }

    async fn take_steps(
        &self,
        memory: &mut ReconcileState,
        steps: &mut StepErrors,
        now: UnixTime,
    ) -> Result<(), Error> {
        let snapshot = soon(Box::pin(self.snapshot())).await?;
        if snapshot.leaving || snapshot.namespace_ends() {
            memory.node_orders.send_replace(NodeOrders::Unknown);
        }
        if snapshot.leaving {
            memory.orders.send_replace(DesiredPullSecret::Unknown);
            return soon(self.withdraw(&snapshot, memory)).await;
        }
        if snapshot.namespace_ends() {
            memory.orders.send_replace(DesiredPullSecret::Unknown);
            return soon(self.deregister()).await;
        }
        steps.take("owner", soon(self.belong(&snapshot, memory, now)).await);
        steps.take("jet-system", soon(self.ensure_registry_info_namespace()).await);
        let foreign = soon(self.reconcile_competing_webhooks(memory, steps)).await;
        if let Some(foreign) = steps.take(FOREIGN, foreign) {
            memory.foreign = foreign;
        }
        let audit = self.is_audit(&memory.foreign);
        let declaration =
            soon(self.reconcile_declaration(&snapshot, memory, steps, (audit, now))).await;
        if let Some(declaration) = steps.take("declaration", declaration) {
            memory.declaration = Some(declaration);
        }
        if self.settings.heartbeat {
            let declaration = memory.declaration.as_ref().and_then(|it| it.effective.as_ref());
            send_new(&memory.counted, declaration.map(Effective::without_credentials));
        }
        let swapping = memory.declaration.as_ref().map(|it| it.swapping).unwrap_or_default();
        let audit = audit || swapping == PodSwapping::Audited;
        let certificates = soon(self.reconcile_certificates(&snapshot, memory, steps, now)).await;
        let certificates = steps.take("certificates", certificates);
        let bundle = certificates.as_ref().map(|(_, bundle)| &bundle[..]);
        let registered = soon(self.register(&snapshot, memory, steps, bundle, (audit, now))).await;
        let registered = if let Some(policy) = steps.take("registration", registered) {
            (policy.is_some(), Some(policy.unwrap_or_default()))
        } else {
            // The step failed, so the present registration is unknown.
            let before = self.report.borrow();
            (before.policy.registered, before.policy.failure_policy)
        };
        let registry = self.poll_registry_check(memory, now).await;
        let scope = steps.take("pull-secrets", self.scope(&snapshot));
        if let Some((scope, declaration)) = scope.zip(memory.declaration.as_ref()) {
            let order = match &declaration.pull_secrets {
                Some(PullSecretContent { credential, covered })
                    if !memory.uninstallation.is_quiet(now) =>
                {
                    let view = SecretScope { covered: covered.clone(), scope };
                    DesiredPullSecret::Present { content: credential.clone(), view }
                }
                _ => DesiredPullSecret::Unknown,
            };
            send_new(&memory.orders, order);
        }
        self.order_nodes(memory, &snapshot.owner, now);
        let obstacle = memory.node_obstacle.borrow().clone();
        steps.take("nodes", obstacle.map_or(Ok(()), |reason| Err(Error::Unread(reason))));
        let obstacle = memory.hub_obstacle.borrow().clone();
        steps.take("hub", obstacle.map_or(Ok(()), |reason| Err(Error::Unread(reason))));
        let certificates = certificates.map(|(certificates, _)| certificates);
        let mut report = self.seen(memory, audit, registered, certificates.as_ref(), registry);
        report.failing = steps.report();
        let published = soon(self.publish(memory, &snapshot.owner, &report)).await;
        if steps.take("status", published).is_none() {
            // The status cannot be written, so metrics and the log report the failures.
            report.failing = steps.report();
        }
        let failing: Vec<String> =
            report.failing.iter().map(|it| format!("{}: {}", it.name, it.error)).collect();
        self.emit_change(memory, "StepFailed", EventType::Warning, &failing.join("; ")).await;
        send_new(&self.report, report);
        Ok(())
    }

    /// Passes the declaration in force to the controller of nodes.
    fn order_nodes(&self, memory: &ReconcileState, owner: &Anchor, now: UnixTime) {
        let declaration = memory.declaration.as_ref();
        let Some(effective) = declaration.and_then(|it| it.effective.clone()) else { return };
        if self.settings.agents.is_none() {
            return;
        }
        // The last check may be about the declaration before.
        let registry = declaration.and_then(|it| it.registry.as_ref());
        let is_current = memory.health_of.as_ref() == registry;
        let order = if memory.uninstallation.is_quiet(now) {
            NodeOrders::Unknown
        } else {
            let registry = memory.health.clone().filter(|_| is_current);
            NodeOrders::Present { effective, owner: owner.clone(), registry }
        };
        send_new(&memory.node_orders, order);
    }

    /// Returns the report of what was seen.
    fn seen(
        &self,
        memory: &ReconcileState,
        audit: bool,
        (registered, failure_policy): (bool, Option<FailurePolicy>),
        certificates: Option<&ServingCertificates>,
        registry: Option<RegistryStatus>,
    ) -> ControllerReport {
        let gate = memory.gate.as_ref();
        let nothing = DeclarationInForce::default();
        let declaration = memory.declaration.as_ref().unwrap_or(&nothing);
        let for_nodes = |effective: &Effective| {
            let settings = self.settings.agents.as_ref();
            effective.for_nodes(settings.is_some_and(|it| it.credentials))
        };
        let wanted = declaration.effective.as_ref().map(for_nodes);
        let agents = memory.agents.borrow().clone().map(|agents| {
            let current = memory.nodes_in_force.borrow().wanted == wanted;
            AgentsStatus { current, ..agents }
        });
        let needs: Vec<String> = declaration.trust.needs.iter().map(ToString::to_string).collect();
        ControllerReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            bundle_hash: self.settings.bundle_hash.clone(),
            declaration: declaration.declared.clone(),
            policy: AdmissionStatus {
                mode: Some(if audit { Mode::Audit } else { Mode::Enforce }),
                failure_policy,
                requested: Some(self.settings.policy),
                label: self.settings.namespace_label.clone(),
                opt_in: self.settings.opt_in,
                registered,
                probe: gate.map_or(Probe::Unknown, FailurePolicyGate::summary).into(),
                failures: gate.map_or(0, FailurePolicyGate::failures),
                unreached: gate.map_or_else(Vec::new, |gate| {
                    listed(&gate.unreached()).iter().map(ToString::to_string).collect()
                }),
            },
            authority: certificates.and_then(|it| it.authority).map(Into::into),
            certificate: certificates.and_then(|it| it.leaf).map(Into::into),
            registry,
            pull_secrets: memory.pull_secrets.borrow().clone(),
            recreated: memory.recreated.borrow().clone(),
            foreign: listed(&memory.foreign),
            nodes: listed(&needs),
            node_requirements: needs.len(),
            trust: trust_mark(&declaration.trust),
            agents,
            repairs: memory.repairs.count(),
            failing: Vec::new(),
            uninstall_mark: memory.uninstallation.mark.clone(),
        }
    }

    /// Returns the last result of the registry check, and starts a check if one is due. The end of
    /// a check starts the next reconciliation, so that no reconciliation waits for it.
    async fn poll_registry_check(
        &self,
        memory: &mut ReconcileState,
        now: UnixTime,
    ) -> Option<RegistryStatus> {
        match memory.checking.as_mut().map(oneshot::Receiver::try_recv) {
            Some(Ok(health)) => {
                memory.checking = None;
                self.judge(memory, &health).await;
                memory.health = Some(health);
                memory.health_of = memory.checked.as_ref().map(|(registry, _)| registry.clone());
            }
            Some(Err(TryRecvError::Closed)) => memory.checking = None,
            Some(Err(TryRecvError::Empty)) | None => {}
        }
        let declaration = memory.declaration.as_ref();
        let Some(registry) = declaration.and_then(|it| it.registry.clone()) else {
            memory.health = None;
            return None;
        };
        let is_due = |(of, due): &(Registry, _)| *of != registry || now >= *due;
        if memory.checked.as_ref().is_none_or(is_due) && memory.checking.is_none() {
            let next = now + self.intervals.registry.as_secs();
            memory.checked = Some((registry.clone(), next));
            let (done, checking) = oneshot::channel();
            let changed = Arc::clone(&self.changed);
            tokio::spawn(async move {
                // The receiver is gone if this controller does not lead any more.
                let _ = done.send(check(registry, now).await);
                changed.notify_one();
            });
            memory.checking = Some(checking);
        }
        memory.health.clone()
    }

    async fn judge(&self, memory: &mut ReconcileState, health: &RegistryStatus) {
        const UNHEALTHY: &str = "RegistryUnhealthy";
        let RegistryStatus { domain, outcome, detail, .. } = health;
        let was_bad = memory.notes.get(UNHEALTHY).is_some_and(|note| !note.is_empty());
        let note = format!("the registry {domain} is {outcome}: {detail}");
        let (bad, good) = match (health.is_bad(), was_bad) {
            (true, _) => (&*note, ""),
            (false, true) => ("", &*note),
            (false, false) => ("", ""),
        };
        self.emit_change(memory, UNHEALTHY, EventType::Warning, bad).await;
        self.emit_change(memory, "RegistryHealthy", EventType::Normal, good).await;
        let note = match health.expires {
            Some(at) if health.expires_soon => format!(
                "the certificate of the registry {domain} expires at {}: renew it, or nodes cannot \
                 pull from the registry",
                clock::written(at)
            ),
            _ => String::new(),
        };
        self.emit_change(memory, "RegistryCertificateExpires", EventType::Warning, &note).await;
    }

    /// Writes `report` for `status`, if it changed.
    async fn publish(
        &self,
        memory: &mut ReconcileState,
        owner: &Anchor,
        report: &ControllerReport,
    ) -> Result<(), Error> {
        if memory.written.as_ref() == Some(report) {
            return Ok(());
        }
        let release = &self.settings.release;
        let text = serde_json::to_string(report).unwrap_or_default();
        let object = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": release.status(),
                "namespace": release.namespace,
                "labels": secret::labels(release),
                "ownerReferences": [owner.reference()],
            },
            "data": { report::KEY: text },
        });
        let maps = api::namespaced::<ConfigMap, DynamicObject>(&self.client, &release.namespace);
        api::apply(&maps, &release.status(), &object).await?;
        memory.written = Some(report.clone());
        Ok(())
    }

    /// Publishes `note` as an Event, unless it equals the last one about `topic`. An empty
    /// note is not published, but remembered.
    pub(super) async fn emit_change(
        &self,
        memory: &mut ReconcileState,
        topic: &'static str,
        type_: EventType,
        note: &str,
    ) {
        if memory.is_news(topic, note) {
            self.events.emit(type_, topic, note).await;
        }
    }
}

/// Returns the value of the annotation on nodes that have everything `trust` requires; empty if
/// nothing is required.
fn trust_mark(trust: &NodeTrust) -> String {
    if trust.needs.is_empty() { String::new() } else { secret::hash(&trust.text()) }
}
