//! Puts the wanted declaration in force.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use image_swap_core::{
    admission::Mode,
    control::{
        effective::{Effective, EffectiveDecision, Origin, SecretData, decide},
        node_gate::{self, PodSwapping},
        trust::NodeTrust,
    },
    declaration::UnixTime,
    fleet::bundle::{CREATED_BY, FLEET_MANAGER},
    labels,
    status::{
        DECLARATION, DeclarationStatus, PodWait, ServedDeclaration, StoredDeclaration, listed,
    },
};
use k8s_openapi::api::core::v1::Secret;
use kube::{Resource, runtime::events::EventType};
use serde_json::{Value, json};
use tracing::{info, warn};

use super::{
    context::Controller,
    snapshot::{Fetched, Snapshot, found},
    state::{DeclarationInForce, PullSecretContent, ReconcileState},
    steps::StepErrors,
};
use crate::{
    error::Error,
    secret::{self, annotation, declared, hash, holds, is_annotated, text},
};

/// The wanted content of a Secret.
struct SecretContent<'w> {
    name: &'w str,
    data: &'w BTreeMap<&'w str, String>,
    annotations: &'w BTreeMap<&'w str, String>,
}

/// The Secret `registry-info`.
struct RegistryInfo {
    /// Type and data; `None` without the Secret.
    secret: Option<SecretData>,
    /// Value of [`labels::DECLARED_BY`]; `None` if the annotation is not written.
    writer: Option<&'static str>,
}

impl Controller {
    /// Decides which declaration is in force, and publishes it. Writes that fail are
    /// noted in `steps`.
    ///
    /// # Errors
    /// A declaration cannot be read.
    pub(super) async fn reconcile_declaration(
        &self,
        snapshot: &Snapshot,
        memory: &mut ReconcileState,
        steps: &mut StepErrors,
        (audit, now): (bool, UnixTime),
    ) -> Result<DeclarationInForce, Error> {
        let chart = found(&snapshot.chart)?.map(declared);
        let last = snapshot.last()?;
        let RegistryInfo { secret: registry_info, writer } =
            registry_info(snapshot, last.as_ref())?;
        let decision = decide(registry_info.as_ref(), chart.as_ref(), last.as_ref(), now);
        let EffectiveDecision { effective, about, differs } = &decision;
        let declaration = effective.declaration();
        let registry_info_revision = found(&snapshot.registry_info)?
            .filter(|_| registry_info.as_ref() == Some(&effective.secret))
            .filter(|_| effective.origin == Origin::RegistryInfo)
            .and_then(|secret| annotation(secret, labels::REVISION)?.parse().ok());
        let trust = declaration.as_ref().map(NodeTrust::of).unwrap_or_default();
        let agents = self.settings.agents.as_ref();
        let gate = agents.filter(|_| !audit && !trust.needs.is_empty());
        let before = match memory.declaration.as_ref().and_then(|it| it.served.as_ref()) {
            _ if gate.is_none() => None,
            Some(served) => Some(served.clone()),
            None => snapshot.served()?,
        };
        let swapping = gate.map_or_else(PodSwapping::default, |agents| {
            let wanted = effective.for_nodes(agents.credentials);
            let are_ready = memory.nodes_in_force.borrow().covers(&wanted);
            node_gate::decide(&trust, before.as_ref(), are_ready)
        });
        let given = declaration.as_ref().filter(|_| self.settings.pull_secrets);
        let pull_secrets = PullSecretContent::of(given);
        let whole = StoredDeclaration(effective.clone()).data();
        let is_audit = audit || swapping == PodSwapping::Audited;
        let mut served = ServedDeclaration {
            effective: effective.without_credentials(),
            mode: Some(if is_audit { Mode::Audit } else { Mode::Enforce }),
            pull_secret: pull_secrets.credential.is_some(),
        };
        let mut pull_secrets = Some(pull_secrets);
        let mut data = served.data();
        let hash = hash_of(effective.origin, &data);
        let mut served_hash = hash.clone();
        if let Some(before) = before.filter(|_| swapping == PodSwapping::Served) {
            pull_secrets = kept_pull_secrets(memory, &before, effective);
            data = before.data();
            served_hash = hash_of(before.effective.origin, &data);
            served = before;
        }
        let waits = pod_wait(memory, swapping, &served, &served_hash);
        self.emit_wait(memory, waits.as_ref(), &hash, &trust).await;
        let revision = memory.revision(found(&snapshot.last_good)?, text_of(&whole));

        // Before anything is written: Events do not depend on it.
        self.complain(snapshot, memory, &decision).await;
        let difference = if differs.is_empty() {
            String::new()
        } else {
            format!(
                "registry-info takes precedence over the chart's declaration; they differ in {}",
                differs.join(", ")
            )
        };
        self.emit_change(memory, "DeclarationsDiffer", EventType::Warning, &difference).await;

        // Persist the last good declaration before replicas read it.
        let mut numbered = BTreeMap::from([
            (labels::HASH, hash.clone()),
            (labels::REVISION, revision.to_string()),
        ]);
        numbered.extend(writer.map(|it| (labels::DECLARED_BY, it.to_owned())));
        let name = self.settings.release.last_good();
        let wanted = SecretContent { name: &name, data: &whole, annotations: &numbered };
        let written = self.write(snapshot, memory, &snapshot.last_good, &wanted, now).await;
        steps.take("last-good", written);
        let name = self.settings.release.effective();
        let annotations = BTreeMap::from([(labels::HASH, served_hash.clone())]);
        let wanted = SecretContent { name: &name, data: &data, annotations: &annotations };
        let written = self.write(snapshot, memory, &snapshot.effective, &wanted, now).await;
        if steps.take("effective", written) == Some(true) {
            let origin = served.effective.origin.as_str();
            info!(origin, hash = served_hash, "replicas get the declaration");
        }
        let rules = declaration.as_ref().map_or(0, |it| it.rules().rules().len());
        let refused = about.iter().filter(|it| it.refused).map(|it| it.origin);
        let mut status = DeclarationStatus {
            source: effective.origin,
            hash,
            revision,
            registry_info_revision,
            rules,
            refused: refused.collect(),
            differs: listed(differs),
            waits,
            ..DeclarationStatus::default()
        };
        status.list_findings(about);
        Ok(DeclarationInForce {
            effective: Some(effective.clone()),
            trust,
            registry: declaration.and_then(|it| it.registry),
            pull_secrets,
            swapping,
            served: agents.is_some().then_some(served),
            declared: status,
        })
    }

    /// Publishes the beginning and the end of a wait of pods as Events.
    async fn emit_wait(
        &self,
        memory: &mut ReconcileState,
        wait: Option<&PodWait>,
        hash: &str,
        trust: &NodeTrust,
    ) {
        const WAITING: &str = "PodsWaitForNodes";
        let has_waited = memory.notes.get(WAITING).is_some_and(|note| !note.is_empty());
        let needs = || trust.needs.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let begun = wait.map(|wait| format!("{}: {}", wait.message(hash), needs()));
        let ended = match wait {
            None if has_waited => {
                format!("pods wait for nodes no longer: declaration {hash} is in force")
            }
            _ => String::new(),
        };
        self.emit_change(memory, WAITING, EventType::Normal, &begun.unwrap_or_default()).await;
        self.emit_change(memory, "PodsWaitedForNodes", EventType::Normal, &ended).await;
    }

    /// Writes a Secret, unless it already is as it should be. Returns true if it was
    /// written.
    async fn write(
        &self,
        snapshot: &Snapshot,
        memory: &mut ReconcileState,
        there: &Fetched<Secret>,
        wanted: &SecretContent<'_>,
        now: UnixTime,
    ) -> Result<bool, Error> {
        let SecretContent { name, data, annotations } = *wanted;
        let there = found(there)?;
        if holds(there, data) && is_annotated(there, annotations) {
            return Ok(false);
        }
        let content = hash(&serde_json::to_string(data).unwrap_or_default());
        let release = &self.settings.release;
        let object = secret::object(release, &snapshot.owner, name, &json!(annotations), data);
        self.store(memory, there, name, object, content, now).await?;
        Ok(true)
    }

    /// Writes `object`, a Secret, where `there` is. A write of the same `content` again is a
    /// repair.
    ///
    /// # Errors
    /// The limit of repairs is reached, or the API server rejects the write.
    pub(super) async fn store(
        &self,
        memory: &mut ReconcileState,
        there: Option<&Secret>,
        name: &str,
        object: Value,
        content: String,
        now: UnixTime,
    ) -> Result<Secret, Error> {
        memory.rewrite(name, &content, now)?;
        let stored = secret::write(&self.secrets(), there, name, object).await?;
        memory.rewrites.finish(name, content);
        Ok(stored)
    }

    /// Publishes the errors of each refused Secret as an Event on it.
    async fn complain(
        &self,
        snapshot: &Snapshot,
        memory: &mut ReconcileState,
        decision: &EffectiveDecision,
    ) {
        for (origin, secret, topic) in [
            (Origin::RegistryInfo, &snapshot.registry_info, "RegistryInfoRefused"),
            (Origin::Chart, &snapshot.chart, "ChartDeclarationRefused"),
        ] {
            let refused = decision.about.iter().find(|it| it.origin == origin && it.refused);
            let note = refused.map_or_else(String::new, |about| {
                let errors = about.findings.iter().filter(|finding| finding.is_error());
                let errors: Vec<String> = errors.map(ToString::to_string).collect();
                format!("{}; the declaration in force is unchanged", errors.join("; "))
            });
            if memory.is_news(topic, &note) {
                warn!(origin = origin.as_str(), "invalid declaration: {note}");
                if let Ok(Some(secret)) = secret {
                    self.events.warn_of(&secret.object_ref(&()), topic, &note).await;
                }
            }
        }
    }
}

/// Returns `registry-info`. If the fleet controller created it, and it was deleted, the last one in
/// force stays: the management cluster may be gone, and a removal by the fleet controller ends the
/// controller first.
///
/// # Errors
/// An object could not be read.
fn registry_info(snapshot: &Snapshot, last: Option<&Effective>) -> Result<RegistryInfo, Error> {
    let last_good = found(&snapshot.last_good)?;
    let before = last_good.and_then(|it| annotation(it, labels::DECLARED_BY));
    let was_of_fleet = before == Some(FLEET_MANAGER);
    let Some(secret) = found(&snapshot.registry_info)? else {
        let last = last.filter(|it| was_of_fleet && it.origin == Origin::RegistryInfo);
        let writer = before.map(|_| if last.is_some() { FLEET_MANAGER } else { "" });
        return Ok(RegistryInfo { secret: last.map(|it| it.secret.clone()), writer });
    };
    let is_of_fleet = annotation(secret, CREATED_BY) == Some(FLEET_MANAGER);
    let writer = if is_of_fleet { Some(FLEET_MANAGER) } else { before.map(|_| "") };
    Ok(RegistryInfo { secret: Some(declared(secret)), writer })
}

/// Returns the wait of pods, which replicas review by `served` with the hash `hash`.
fn pod_wait(
    memory: &ReconcileState,
    swapping: PodSwapping,
    served: &ServedDeclaration,
    hash: &str,
) -> Option<PodWait> {
    let nodes = memory.nodes_in_force.borrow();
    let reason = if nodes.reason.is_empty() {
        "the state of the nodes is not known yet".to_owned()
    } else {
        nodes.reason.clone()
    };
    let needs_administrator = nodes.needs_administrator;
    let wait = PodWait { reason, needs_administrator, ..PodWait::default() };
    match swapping {
        PodSwapping::InForce => None,
        PodSwapping::Audited => Some(wait),
        PodSwapping::Served => {
            let declaration = served.effective.declaration();
            let rules = declaration.map_or(0, |it| it.rules().rules().len());
            Some(PodWait { served: hash.to_owned(), rules, ..wait })
        }
    }
}

/// Returns the pull Secrets of pods that are swapped by `served` until nodes trust `wanted`;
/// `None` if they are unknown.
fn kept_pull_secrets(
    memory: &ReconcileState,
    served: &ServedDeclaration,
    wanted: &Effective,
) -> Option<PullSecretContent> {
    if let Some(before) = &memory.declaration {
        return before.pull_secrets.clone();
    }
    // A former leader knew the credential of `served`. Only the one of `wanted` is stored.
    let lent = served.effective.with_credential_of(wanted).filter(|_| served.pull_secret)?;
    lent.declaration().map(|it| PullSecretContent::of(Some(&it)))
}

/// Returns the hash of a declaration of `origin` that replicas serve; empty without one.
///
/// No hash covers the credential: it is shown to anyone who reads status or the plain port, and a
/// weak password could be guessed from it.
fn hash_of(origin: Origin, data: &BTreeMap<&str, String>) -> String {
    match origin {
        Origin::None => String::new(),
        Origin::RegistryInfo | Origin::Chart => hash(text_of(data)),
    }
}

/// Returns the text of the declaration in the data of a Secret.
fn text_of<'d>(data: &'d BTreeMap<&str, String>) -> &'d str {
    data.get(DECLARATION).map_or("", String::as_str)
}

impl ReconcileState {
    /// Returns the revision of the declaration `whole`: one more than that of `last_good` if
    /// that Secret has another declaration.
    fn revision(&mut self, last_good: Option<&Secret>, whole: &str) -> u64 {
        let stored = last_good.and_then(|secret| annotation(secret, labels::REVISION));
        let stored = stored.and_then(|number| number.parse().ok()).unwrap_or(0);
        self.revision = self.revision.max(stored);
        let mut hasher = DefaultHasher::new();
        whole.hash(&mut hasher);
        let fingerprint = hasher.finish();
        // A Secret that cannot be written must not count again and again.
        if self.numbered != Some(fingerprint) {
            let is_same = last_good.and_then(|secret| text(secret, DECLARATION)) == Some(whole);
            if !is_same || self.revision == 0 {
                self.revision += 1;
            }
            self.numbered = Some(fingerprint);
        }
        self.revision
    }
}
