//! One turn: everything, once.

use std::sync::Arc;

use image_swap_core::{
    cluster::{effective::JET_SYSTEM, policy::Wanted, trust::Trust},
    declaration::{Registry, UnixTime},
};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{Api, runtime::events::EventType};
use serde_json::json;
use tokio::sync::oneshot::{self, error::TryRecvError};
use tracing::info;

use super::{Controller, Memory, declaration::Declaration};
use crate::{
    api, clock,
    error::Error,
    health::{Health, check},
    pull_secrets::Order,
    report::{Held, Report},
    secret,
};

impl Controller {
    pub(super) async fn turn(&self, memory: &mut Memory, now: UnixTime) -> Result<(), Error> {
        let snapshot = self.snapshot().await?;
        if snapshot.leaving {
            memory.orders.send_replace(Order::Rest);
            return self.withdraw(&snapshot, memory).await;
        }
        self.jet_system(memory).await?;
        let foreign = self.foreign(memory).await?;
        let audit = self.is_audit(&foreign);
        let declaration = self.declaration(&snapshot, memory, audit, now).await?;
        let (certificates, bundle) = self.certificates(&snapshot, memory, now).await?;
        let registered = self.register(&snapshot, memory, &bundle, audit, now).await?;
        let Declaration { declared, trust, registry, credential } = declaration;
        memory.order(Order::Keep { owner: snapshot.owner.clone(), content: credential });
        let earned = memory.earned;
        let registry = self.health(memory, registry, &declared.hash, now).await;
        let report = Report {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            declaration: declared,
            policy: Held {
                mode: if audit { "audit" } else { "enforce" }.to_owned(),
                failure_policy: registered.unwrap_or_default().as_str().to_owned(),
                wanted: match self.settings.policy {
                    Wanted::Fail => "fail",
                    Wanted::Ignore => "ignore",
                    Wanted::Audit => "audit",
                }
                .to_owned(),
                label: self.settings.namespace_label.clone(),
                opt_in: self.settings.opt_in,
                registered: registered.is_some(),
                probe: super::probe::name(memory.probe).to_owned(),
                failures: earned.map_or(0, |earned| earned.failures()),
            },
            authority: certificates.authority.map(Into::into),
            certificate: certificates.leaf.map(Into::into),
            registry,
            pull_secrets: memory.pull_secrets.borrow().clone(),
            foreign,
            nodes: trust.needs.iter().map(ToString::to_string).collect(),
            trust: told(&trust),
            repairs: memory.repairs.count(),
        };
        self.publish(&snapshot.owner, report).await
    }

    /// What is known of the registry. A check is begun when one is due, and
    /// nobody waits for it: its end is a reason for the next turn.
    async fn health(
        &self,
        memory: &mut Memory,
        registry: Option<Registry>,
        hash: &str,
        now: UnixTime,
    ) -> Option<Health> {
        match memory.checking.as_mut().map(oneshot::Receiver::try_recv) {
            Some(Ok(health)) => {
                memory.checking = None;
                self.judge(memory, &health).await;
                memory.health = Some(health);
            }
            Some(Err(TryRecvError::Closed)) => memory.checking = None,
            Some(Err(TryRecvError::Empty)) | None => {}
        }
        let Some(registry) = registry else {
            memory.health = None;
            return None;
        };
        let is_due = memory.checked.as_ref().is_none_or(|(of, due)| of != hash || now >= *due);
        if is_due && memory.checking.is_none() {
            memory.checked = Some((hash.to_owned(), now + self.intervals.registry.as_secs()));
            let (done, checking) = oneshot::channel();
            let changed = Arc::clone(&self.changed);
            tokio::spawn(async move {
                // Nobody asks any more: another one leads.
                let _ = done.send(check(registry, now).await);
                changed.notify_one();
            });
            memory.checking = Some(checking);
        }
        memory.health.clone()
    }

    async fn judge(&self, memory: &mut Memory, health: &Health) {
        const UNHEALTHY: &str = "RegistryUnhealthy";
        let Health { domain, outcome, detail, .. } = health;
        let was_bad = memory.said.get(UNHEALTHY).is_some_and(|note| !note.is_empty());
        let note = if health.is_bad() {
            format!("{domain} is {outcome}: {detail}")
        } else {
            String::new()
        };
        self.say(memory, UNHEALTHY, EventType::Warning, &note).await;
        let note = if was_bad && note.is_empty() {
            format!("{domain} is {outcome}: {detail}")
        } else {
            String::new()
        };
        self.say(memory, "RegistryHealthy", EventType::Normal, &note).await;
        let note = match health.expires {
            Some(at) if health.expires_soon => format!(
                "the certificate of {domain} expires at {}: renew it, or no pod can be pulled \
                 from there",
                clock::written(at)
            ),
            _ => String::new(),
        };
        self.say(memory, "RegistryCertificateExpires", EventType::Warning, &note).await;
    }

    /// The namespace in which the page's Secret is created: made if it is not
    /// there, never changed, never deleted.
    async fn jet_system(&self, memory: &mut Memory) -> Result<(), Error> {
        if memory.namespace_is_there {
            return Ok(());
        }
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        if api::get(&namespaces, JET_SYSTEM).await?.is_none() {
            let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": JET_SYSTEM } });
            api::apply(&namespaces, JET_SYSTEM, &namespace).await?;
            info!(namespace = JET_SYSTEM, "created");
        }
        memory.namespace_is_there = true;
        Ok(())
    }

    /// Publishes what we see, if it changed.
    async fn publish(
        &self,
        owner: &image_swap_core::cluster::webhooks::Owner,
        report: Report,
    ) -> Result<(), Error> {
        if *self.report.borrow() == report {
            return Ok(());
        }
        let release = &self.settings.release;
        let text = serde_json::to_string(&report).unwrap_or_default();
        let object = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": release.status(),
                "namespace": release.namespace,
                "labels": secret::labels(release),
                "ownerReferences": [owner.reference()],
            },
            "data": { "status.json": text },
        });
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &release.namespace);
        api::apply(&maps, &release.status(), &object).await?;
        self.report.send_replace(report);
        Ok(())
    }

    /// Says `note` in an event, unless it is what was said last about `topic`.
    /// An empty note is not said, but remembered.
    pub(super) async fn say(
        &self,
        memory: &mut Memory,
        topic: &'static str,
        type_: EventType,
        note: &str,
    ) {
        if news(memory, topic, note) {
            self.events.say(type_, topic, note).await;
        }
    }
}

impl Memory {
    /// Tells the keeper of pull Secrets what to do, if that is news.
    fn order(&self, order: Order) {
        self.orders.send_if_modified(|before| {
            let is_news = *before != order;
            *before = order;
            is_news
        });
    }
}

/// What nodes that were told all of it are marked with.
fn told(trust: &Trust) -> String {
    if trust.needs.is_empty() { String::new() } else { secret::hash(&trust.text()) }
}

/// Whether `note` is worth an event.
pub(super) fn news(memory: &mut Memory, topic: &'static str, note: &str) -> bool {
    let before = memory.said.insert(topic, note.to_owned());
    !note.is_empty() && before.as_deref() != Some(note)
}
