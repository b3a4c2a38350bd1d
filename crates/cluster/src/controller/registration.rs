//! Keeps the webhook configuration, and looks for others like it.

use image_swap_core::{
    cluster::{
        certificates::AuthorityId,
        foreign::{Backend, Foreign, Life, recognise},
        policy::{Earned, Policy, Wanted},
        webhooks::{self, Service, desired, plan},
    },
    declaration::UnixTime,
};
use k8s_openapi::api::core::v1::Endpoints;
use kube::{Api, api::ListParams, runtime::events::EventType};
use serde_json::{Value, json};
use tracing::{info, warn};

use super::{Controller, Memory, snapshot::Snapshot};
use crate::{api, error::Error, report::Other};

impl Controller {
    /// Whether pods are only reported on: by choice, or because another program
    /// that swaps images lives.
    pub(super) fn is_audit(&self, foreign: &[Other]) -> bool {
        let meets = !self.settings.coexist && foreign.iter().any(|other| other.alive);
        self.settings.policy == Wanted::Audit || meets
    }

    /// Other programs that swap images. Dead ones are removed if that is wanted.
    pub(super) async fn foreign(&self, memory: &mut Memory) -> Result<Vec<Other>, Error> {
        let registrations = api::registrations(&self.client);
        let list = registrations.list(&ListParams::default()).await;
        let list = list.map_err(Error::api("list webhook configurations"))?;
        let mut others = Vec::new();
        for object in list.items {
            let value = serde_json::to_value(&object).unwrap_or_default();
            let Some(foreign) = recognise(&value) else { continue };
            let life = self.life(&foreign).await?;
            if life == Life::Dead && self.settings.adopt && self.adopt(&foreign).await {
                continue;
            }
            others.push(Other::new(&foreign.configuration, foreign.program, life));
        }
        let note = self.note(&others);
        self.say(memory, "OtherImageSwapper", EventType::Warning, &note).await;
        Ok(others)
    }

    fn note(&self, others: &[Other]) -> String {
        let one = |other: &Other| {
            let Other { configuration, program, alive } = other;
            let what = match (alive, self.settings.coexist) {
                (true, false) => {
                    "lives: pods are only reported on until it is gone, or `coexist` is set"
                }
                (true, true) => "lives: both swap images",
                (false, _) => "is dead, and may hold up pods: delete it, or set `adopt`",
            };
            format!("{program} (MutatingWebhookConfiguration {configuration}) {what}")
        };
        others.iter().map(one).collect::<Vec<_>>().join("; ")
    }

    async fn life(&self, foreign: &Foreign) -> Result<Life, Error> {
        let mut answering = Vec::new();
        for backend in &foreign.backends {
            if let Backend::Service(namespace, name) = backend
                && self.has_endpoints(namespace, name).await?
            {
                answering.push((namespace.clone(), name.clone()));
            }
        }
        Ok(foreign.life(|namespace, name| {
            answering.iter().any(|(one, other)| one == namespace && other == name)
        }))
    }

    /// Whether anybody stands behind a Service.
    pub(super) async fn has_endpoints(&self, namespace: &str, name: &str) -> Result<bool, Error> {
        let endpoints: Api<Endpoints> = Api::namespaced(self.client.clone(), namespace);
        let found = api::get(&endpoints, name).await?;
        let subsets = found.and_then(|it| it.subsets).unwrap_or_default();
        Ok(subsets
            .iter()
            .any(|subset| subset.addresses.as_ref().is_some_and(|all| !all.is_empty())))
    }

    /// Removes the registration of a dead program; whether it is gone.
    async fn adopt(&self, foreign: &Foreign) -> bool {
        let registrations = api::registrations(&self.client);
        match api::delete(&registrations, &foreign.configuration).await {
            Ok(_) => {
                info!(configuration = foreign.configuration, "a dead registration was removed");
                true
            }
            Err(error) => {
                warn!(%error, "a dead registration could not be removed");
                false
            }
        }
    }

    /// Registers what is to be registered; the policy that is registered then, if
    /// anything is.
    pub(super) async fn register(
        &self,
        snapshot: &Snapshot,
        memory: &mut Memory,
        bundle: &[AuthorityId],
        audit: bool,
        now: UnixTime,
    ) -> Result<Option<Policy>, Error> {
        let observed = snapshot.registration.as_ref();
        if self.stays_away(memory, observed, now).await? {
            return Ok(None);
        }
        let registered = webhooks::earned(observed);
        let earned = memory.earned.get_or_insert_with(|| Earned::begin(registered));
        if bundle.is_empty() {
            // Nobody could answer.
            return Ok(observed.map(|_| registered));
        }
        let wanted = if audit { Wanted::Audit } else { self.settings.policy };
        let policy = earned.policy(wanted);
        let settings = self.webhooks(snapshot, bundle, policy);
        let Some(object) = plan(&desired(&settings), observed) else { return Ok(Some(policy)) };
        let is_there = observed.is_some_and(|it| it["webhooks"].is_array());
        let is_repair = is_there && registered == policy;
        if is_repair && let Err(seconds) = memory.repairs.begin(now) {
            warn!(seconds, "the registration is changed again and again; it is repaired later");
            return Ok(Some(registered));
        }
        self.write_registration(&object, observed).await?;
        match observed {
            None => info!("registered"),
            Some(_) if registered != policy => self.say_policy(memory, policy).await,
            Some(_) => info!("the registration was brought up to date"),
        }
        Ok(Some(policy))
    }

    fn webhooks(
        &self,
        snapshot: &Snapshot,
        bundle: &[AuthorityId],
        policy: Policy,
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
        }
    }

    /// A new one by apply, an old one by a merge patch of the version that was
    /// read: what others put there stays, and what we no longer want goes.
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
        api::merge(&registrations, &name, &patch).await.map(drop)
    }

    async fn say_policy(&self, memory: &mut Memory, policy: Policy) {
        let note = match policy {
            Policy::Fail => {
                "the API server reaches us: pods that cannot be reviewed are refused from now on"
            }
            Policy::Ignore => {
                "the API server does not reach us, or is not asked to refuse: pods that cannot be \
                 reviewed are let through with the images they name"
            }
        };
        info!(policy = policy.as_str(), "{note}");
        let type_ = if policy == Policy::Fail { EventType::Normal } else { EventType::Warning };
        self.say(memory, "FailurePolicyChanged", type_, note).await;
    }
}
