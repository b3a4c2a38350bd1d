//! Puts the declaration in force that is to be.

use std::collections::BTreeMap;

use image_swap_core::{
    cluster::{
        effective::{Decision, Origin, decide},
        pull_secrets,
        trust::Trust,
    },
    declaration::{Registry, UnixTime},
};
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::events::EventType;
use serde_json::json;
use tracing::{info, warn};

use super::{
    Controller, Memory,
    snapshot::{Fetched, Snapshot, found},
    steps::StepErrors,
    turn::news,
};
use crate::{
    error::Error,
    report::{self, Declared, listed},
    secret::{self, HASH, declared, hash, holds},
};

/// The declaration in force.
#[derive(Default)]
pub(super) struct Declaration {
    pub(super) declared: Declared,
    /// What nodes have to be told.
    pub(super) trust: Trust,
    pub(super) registry: Option<Registry>,
    /// What pull Secrets hold: the password.
    pub(super) credential: Option<Vec<u8>>,
}

/// A Secret as it should be.
struct SecretContent<'w> {
    name: &'w str,
    data: &'w BTreeMap<&'w str, String>,
    annotations: &'w serde_json::Value,
}

impl Controller {
    /// Decides which declaration is in force, and publishes it. Writes that fail are
    /// noted in `steps`.
    ///
    /// # Errors
    /// A declaration cannot be read.
    pub(super) async fn declaration(
        &self,
        snapshot: &Snapshot,
        memory: &mut Memory,
        steps: &mut StepErrors,
        (audit, now): (bool, UnixTime),
    ) -> Result<Declaration, Error> {
        let registry_info = found(&snapshot.registry_info)?.map(declared);
        let chart = found(&snapshot.chart)?.map(declared);
        let last = snapshot.last()?;
        let decision = decide(registry_info.as_ref(), chart.as_ref(), last.as_ref(), now);
        let Decision { effective, about, differs } = &decision;
        let declaration = effective.declaration();
        let hash =
            if effective.origin == Origin::None { String::new() } else { hash(&effective.text) };

        // Before anything is written: Events do not depend on it.
        self.complain(snapshot, memory, &decision).await;
        let difference = if differs.is_empty() {
            String::new()
        } else {
            format!(
                "registry-info wins over the chart's declaration, which differs in {}",
                differs.join(", ")
            )
        };
        self.say(memory, "DeclarationsDiffer", EventType::Warning, &difference).await;

        // Persist the last good declaration before replicas read it.
        let whole = BTreeMap::from([
            ("declaration", effective.text.clone()),
            ("source", effective.origin.as_str().to_owned()),
        ]);
        let annotations = json!({ HASH: hash });
        let name = self.settings.release.last_good();
        let wanted = SecretContent { name: &name, data: &whole, annotations: &annotations };
        let written = self.write(snapshot, memory, &snapshot.last_good, &wanted, now).await;
        steps.take("last-good", written);
        let credential = declaration.as_ref().filter(|_| self.settings.pull_secrets);
        let credential = credential.and_then(pull_secrets::content);
        let served = BTreeMap::from([
            ("declaration", effective.text_without_credentials().unwrap_or_default()),
            ("source", effective.origin.as_str().to_owned()),
            ("mode", if audit { "audit" } else { "enforce" }.to_owned()),
            ("pull-secret", credential.is_some().to_string()),
        ]);
        let name = self.settings.release.effective();
        let wanted = SecretContent { name: &name, data: &served, annotations: &annotations };
        let written = self.write(snapshot, memory, &snapshot.effective, &wanted, now).await;
        if steps.take("effective", written) == Some(true) {
            info!(origin = effective.origin.as_str(), hash, "the declaration is in force");
        }
        let rules = declaration.as_ref().map_or(0, |it| it.rules().rules().len());
        let (findings, finding_count) = report::found(about);
        let refused = about.iter().filter(|it| it.refused).map(|it| it.origin.as_str().to_owned());
        Ok(Declaration {
            trust: declaration.as_ref().map(Trust::of).unwrap_or_default(),
            registry: declaration.and_then(|it| it.registry),
            credential,
            declared: Declared {
                source: effective.origin.as_str().to_owned(),
                hash,
                rules,
                refused: refused.collect(),
                differs: listed(differs),
                findings,
                finding_count,
            },
        })
    }

    /// Writes a Secret, unless it already is as it should be. Returns true if it was
    /// written.
    async fn write(
        &self,
        snapshot: &Snapshot,
        memory: &mut Memory,
        there: &Fetched<Secret>,
        wanted: &SecretContent<'_>,
        now: UnixTime,
    ) -> Result<bool, Error> {
        let SecretContent { name, data, annotations } = *wanted;
        let there = found(there)?;
        if holds(there, data) {
            return Ok(false);
        }
        let content = hash(&serde_json::to_string(data).unwrap_or_default());
        memory.rewrite(name, &content, now)?;
        let release = &self.settings.release;
        let object = secret::object(release, &snapshot.owner, name, annotations, data);
        secret::write(&self.secrets(), there, name, object).await?;
        memory.rewrites.finish(name, content);
        Ok(true)
    }

    /// Tells on each refused Secret what is wrong with it.
    async fn complain(&self, snapshot: &Snapshot, memory: &mut Memory, decision: &Decision) {
        for (origin, secret, topic) in [
            (Origin::RegistryInfo, &snapshot.registry_info, "RegistryInfoRefused"),
            (Origin::Chart, &snapshot.chart, "ChartDeclarationRefused"),
        ] {
            let refused = decision.about.iter().find(|it| it.origin == origin && it.refused);
            let note = refused.map_or_else(String::new, |about| {
                let errors = about.findings.iter().filter(|finding| finding.is_error());
                let errors: Vec<String> = errors.map(ToString::to_string).collect();
                format!("{}; what was in force stays in force", errors.join("; "))
            });
            if news(memory, topic, &note) {
                warn!(origin = origin.as_str(), "a declaration is refused: {note}");
                if let Ok(Some(secret)) = secret {
                    self.events.complain(secret, topic, &note).await;
                }
            }
        }
    }
}
