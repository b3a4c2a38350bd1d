//! One turn: everything, once.

use image_swap_core::{cluster::effective::JET_SYSTEM, declaration::UnixTime};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{Api, runtime::events::EventType};
use serde_json::json;
use tracing::info;

use super::{Controller, Memory, declaration::Declaration};
use crate::{
    api,
    error::Error,
    report::{Held, Report},
    secret,
};

impl Controller {
    pub(super) async fn turn(&self, memory: &mut Memory, now: UnixTime) -> Result<(), Error> {
        let snapshot = self.snapshot().await?;
        if snapshot.leaving {
            return Ok(());
        }
        self.jet_system(memory).await?;
        let foreign = self.foreign(memory).await?;
        let audit = self.is_audit(&foreign);
        let declaration = self.declaration(&snapshot, memory, audit, now).await?;
        let (certificates, bundle) = self.certificates(&snapshot, memory, now).await?;
        let registered = self.register(&snapshot, memory, &bundle, audit, now).await?;
        let Declaration { declared, nodes } = declaration;
        let earned = memory.earned;
        let report = Report {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            declaration: declared,
            policy: Held {
                mode: if audit { "audit" } else { "enforce" }.to_owned(),
                failure_policy: registered.as_str().to_owned(),
                registered: true,
                probe: super::probe::name(memory.probe).to_owned(),
                failures: earned.map_or(0, |earned| earned.failures()),
            },
            authority: certificates.authority.map(Into::into),
            certificate: certificates.leaf.map(Into::into),
            foreign,
            nodes,
            repairs: memory.repairs.count(),
        };
        self.publish(&snapshot.owner, report).await
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

/// Whether `note` is worth an event.
pub(super) fn news(memory: &mut Memory, topic: &'static str, note: &str) -> bool {
    let before = memory.said.insert(topic, note.to_owned());
    !note.is_empty() && before.as_deref() != Some(note)
}
