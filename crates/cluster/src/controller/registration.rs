//! Keeps the webhook configuration, and finds those of other programs.

use image_swap_core::{
    control::{
        certificates::AuthorityId,
        competitors::{Backend, CompetingWebhook, Liveness, recognise},
        policy::{FailurePolicy, FailurePolicyGate, RequestedPolicy},
        webhooks::{self, NamespaceScope, Service, desired, plan},
    },
    declaration::UnixTime,
    status::CompetitorStatus,
};
use kube::{api::ListParams, runtime::events::EventType};
use serde_json::{Value, json};
use tracing::{info, warn};

use super::{
    certificates::published,
    context::Controller,
    snapshot::{Snapshot, found},
    state::ReconcileState,
    steps::StepErrors,
};
use crate::{api, endpoints::may_answer, error::Error};

/// The step that finds other programs that swap images.
pub(super) const FOREIGN: &str = "other-image-swappers";

impl Controller {
    /// Returns true if replicas report decisions without changing pods: because of the configured
    /// policy, or because another program that swaps images is alive.
    pub(super) fn is_audit(&self, foreign: &[CompetitorStatus]) -> bool {
        let meets = !self.settings.coexist && foreign.iter().any(|other| other.alive);
        self.settings.policy == RequestedPolicy::Audit || meets
    }

    /// Finds other programs that swap images. Registrations of those that were dead for
    /// the grace period are removed if that is configured. Errors are noted in `steps`.
    ///
    /// # Errors
    /// The registrations cannot be read.
    pub(super) async fn reconcile_competing_webhooks(
        &self,
        memory: &mut ReconcileState,
        steps: &mut StepErrors,
    ) -> Result<Vec<CompetitorStatus>, Error> {
        let registrations = api::registrations(&self.client);
        let list = registrations.list(&ListParams::default()).await;
        let list = list.map_err(Error::api("list webhook configurations"))?;
        let mut others = Vec::new();
        for object in list.items {
            let value = serde_json::to_value(&object).unwrap_or_default();
            let Some(foreign) = recognise(&value) else { continue };
            let name = &foreign.configuration;
            let Some(life) = steps.take(FOREIGN, self.life(&foreign).await) else {
                others.push(unknown(&foreign, &memory.foreign));
                continue;
            };
            let at = self.started.elapsed();
            let settled = memory.sightings.observe(name, life, at, self.intervals.grace);
            if settled.is_removable && self.settings.adopt {
                let removed = api::delete(&registrations, name).await;
                if steps.take(FOREIGN, removed).is_some() {
                    info!(configuration = name, "deleted a dead webhook configuration");
                    continue;
                }
            }
            others.push(CompetitorStatus::new(name, foreign.program, settled.life));
        }
        let present: Vec<String> = others.iter().map(|it| it.configuration.clone()).collect();
        memory.sightings.retain(&present);
        let note = self.note(&others);
        self.emit_change(memory, "OtherImageSwapper", EventType::Warning, &note).await;
        Ok(others)
    }

    fn note(&self, others: &[CompetitorStatus]) -> String {
        let one = |other: &CompetitorStatus| {
            let CompetitorStatus { configuration, program, alive } = other;
            let what = match (alive, self.settings.coexist) {
                (true, false) => {
                    "is running: image-swap changes no pod until it is gone, or `coexist` is set"
                }
                (true, true) => "is running: both programs swap images",
                (false, _) if self.settings.adopt => {
                    "is not running, and its webhook may block pods: image-swap deletes the \
                     configuration after `adoptAfter`"
                }
                (false, _) => {
                    "is not running, and its webhook may block pods: delete the configuration, or \
                     set `adopt`"
                }
            };
            format!("{program} (MutatingWebhookConfiguration {configuration}) {what}")
        };
        others.iter().map(one).collect::<Vec<_>>().join("; ")
    }

    async fn life(&self, foreign: &CompetingWebhook) -> Result<Liveness, Error> {
        let mut answering = Vec::new();
        for backend in &foreign.backends {
            if let Backend::Service(namespace, name) = backend
                && may_answer(&self.client, namespace, name).await?
            {
                answering.push((&**namespace, &**name));
            }
        }
        Ok(foreign.life(|namespace, name| answering.contains(&(namespace, name))))
    }

    /// Registers the webhook, and repairs what other writers changed. Returns the policy
    /// that is registered then, if anything is.
    ///
    /// Without a `bundle` the authorities that are registered stay.
    pub(super) async fn register(
        &self,
        snapshot: &Snapshot,
        memory: &mut ReconcileState,
        steps: &mut StepErrors,
        bundle: Option<&[AuthorityId]>,
        (audit, now): (bool, UnixTime),
    ) -> Result<Option<FailurePolicy>, Error> {
        let observed = found(&snapshot.registration)?;
        if self.stays_away(memory, steps, observed, now).await? {
            return Ok(None);
        }
        let registered = webhooks::earned(observed);
        let lower = self.intervals.lower;
        memory.gates += usize::from(memory.gate.is_none());
        let gate = memory.gate.get_or_insert_with(|| FailurePolicyGate::begin(registered, lower));
        let known = published(observed);
        let bundle = bundle.unwrap_or(&known);
        if bundle.is_empty() {
            // No replica could answer.
            return Ok(observed.map(|_| registered));
        }
        let wanted = if audit { RequestedPolicy::Audit } else { self.settings.policy };
        let policy = gate.policy(wanted);
        let desired = desired(&self.webhooks(snapshot, bundle, policy));
        let Some(object) = plan(&desired, observed) else {
            memory.registered = Some(desired);
            return Ok(Some(policy));
        };
        // Everything that was decided was in place before: another writer changed it, or
        // deleted it.
        let before = memory.registered.as_ref();
        let is_repair = before.is_some_and(|before| observed.is_none() || *before == desired);
        if is_repair && let Err(seconds) = memory.repairs.begin(now) {
            warn!(
                seconds,
                "another writer keeps changing the registration; the next repair is delayed"
            );
            steps.delay(seconds);
            return Ok(observed.map(|_| registered));
        }
        self.write_registration(&object, observed).await?;
        memory.registered = Some(desired);
        match observed {
            None => info!("created the registration"),
            Some(_) if registered != policy && !is_repair => self.emit_policy(memory, policy).await,
            Some(_) => info!("updated the registration"),
        }
        Ok(Some(policy))
    }

    /// Returns the namespaces whose pods the registration selects, others' selectors included.
    ///
    /// # Errors
    /// The registration could not be read.
    pub(super) fn scope(&self, snapshot: &Snapshot) -> Result<NamespaceScope, Error> {
        let settings = self.webhooks(snapshot, &[], FailurePolicy::Ignore);
        Ok(NamespaceScope::of(&desired(&settings), found(&snapshot.registration)?))
    }

    fn webhooks(
        &self,
        snapshot: &Snapshot,
        bundle: &[AuthorityId],
        policy: FailurePolicy,
    ) -> webhooks::Settings {
        let settings = &self.settings;
        webhooks::Settings {
            name: settings.release.admission(),
            release: settings.release.name.clone(),
            owner: snapshot.owner.clone(),
            service: Service {
                namespace: settings.release.namespace.clone(),
                name: settings.service.clone(),
                port: settings.service_port,
            },
            ca_bundle: bundle.concat(),
            policy,
            timeout_seconds: settings.timeout_seconds,
            system_namespaces: settings.system_namespaces.clone(),
            opt_in: settings.opt_in,
            namespace_label: settings.namespace_label.clone(),
            template_namespaces: settings.template_namespaces.clone(),
        }
    }

    /// Writes the registration: a new one by server-side apply, and an existing one by a merge
    /// patch of the version that was read. The patch keeps values of other writers, and removes
    /// outdated ones of image-swap.
    async fn write_registration(
        &self,
        object: &Value,
        observed: Option<&Value>,
    ) -> Result<(), Error> {
        let registrations = api::registrations(&self.client);
        let name = self.settings.release.admission();
        let Some(observed) = observed else {
            return api::apply(&registrations, &name, object).await.map(drop);
        };
        let metadata = &object["metadata"];
        let patch = json!({
            "metadata": {
                "resourceVersion": observed["metadata"]["resourceVersion"],
                "annotations": metadata["annotations"],
                "ownerReferences": metadata["ownerReferences"],
            },
            "webhooks": object["webhooks"],
        });
        api::patch_if_present(&registrations, &name, &patch).await.map(drop)
    }

    async fn emit_policy(&self, memory: &mut ReconcileState, policy: FailurePolicy) {
        let unreached = memory.gate.as_ref().map(FailurePolicyGate::unreached).unwrap_or_default();
        let unreached: Vec<String> = unreached.iter().map(ToString::to_string).collect();
        let at = match &unreached[..] {
            [] => String::new(),
            [one] => format!(" at {one}"),
            all => format!(" at each of {}", all.join(", ")),
        };
        let note = match policy {
            FailurePolicy::Fail => {
                "the API server can call the webhook: failurePolicy is Fail, and \
                                    pods that cannot be reviewed are refused"
                    .to_owned()
            }
            FailurePolicy::Ignore => format!(
                "the API server{at} cannot call the webhook, the value policy is not fail, or \
                 image-swap changes no pod: failurePolicy is Ignore, and pods that cannot be reviewed keep their images"
            ),
        };
        info!(policy = policy.as_str(), "{note}");
        let type_ =
            if policy == FailurePolicy::Fail { EventType::Normal } else { EventType::Warning };
        self.emit_change(memory, "FailurePolicyChanged", type_, &note).await;
    }
}

/// Returns the last report of a program whose life cannot be found out.
fn unknown(foreign: &CompetingWebhook, before: &[CompetitorStatus]) -> CompetitorStatus {
    let known = before.iter().find(|it| it.configuration == foreign.configuration);
    let new = || CompetitorStatus::new(&foreign.configuration, foreign.program, Liveness::Dead);
    known.cloned().unwrap_or_else(new)
}
