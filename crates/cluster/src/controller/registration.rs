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
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
    runtime::events::EventType,
};
use serde_json::{Value, json};
use tracing::{info, warn};

use super::{Controller, Memory, snapshot::Snapshot};
use crate::{
    api,
    error::{Error, code},
    report::Other,
};

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
        let registered = webhooks::earned(observed);
        let earned = memory.earned.get_or_insert_with(|| Earned::begin(registered));
        if bundle.is_empty() {
            // Nobody could answer.
            return Ok(observed.map(|_| registered));
        }
        let wanted = if audit { Wanted::Audit } else { self.settings.policy };
        let policy = earned.policy(wanted);
        let mut settings = self.webhooks(snapshot, bundle, policy);
        settings.match_conditions = self.conditions(&settings, observed, memory).await?;
        if !settings.match_conditions {
            self.name_namespaces(memory).await?;
        }
        let Some(object) = plan(&desired(&settings), observed) else { return Ok(Some(policy)) };
        let is_repair = observed.is_some() && registered == policy;
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

    /// Whether to register conditions: if the API server keeps them. Where it does
    /// not, ours would be missing again and again, and pods of the system would be
    /// held like all others; it is told namespaces instead.
    async fn conditions(
        &self,
        settings: &webhooks::Settings,
        observed: Option<&Value>,
        memory: &mut Memory,
    ) -> Result<bool, Error> {
        if !settings.match_conditions {
            return Ok(false);
        }
        if observed.is_some_and(webhooks::keeps_conditions) {
            memory.conditions = Some(true);
        }
        let kept = match memory.conditions {
            Some(known) => known,
            None => self.try_conditions(settings).await?,
        };
        memory.conditions = Some(kept);
        let note = if kept {
            ""
        } else {
            "the API server keeps no matchConditions (it is older than 1.28): system pods are told \
             by their namespace alone; set matchConditions to false"
        };
        self.say(memory, "NoMatchConditions", EventType::Warning, note).await;
        Ok(kept)
    }

    /// Registers, dry, what has conditions, and sees what becomes of them.
    async fn try_conditions(&self, settings: &webhooks::Settings) -> Result<bool, Error> {
        let Some(object) = plan(&desired(settings), None) else { return Ok(true) };
        let params = PatchParams { dry_run: true, ..PatchParams::apply(api::MANAGER).force() };
        let registrations = api::registrations(&self.client);
        let tried = registrations.patch(&settings.name, &params, &Patch::Apply(&object)).await;
        match tried {
            Ok(answered) => {
                let answered = serde_json::to_value(&answered).unwrap_or_default();
                Ok(webhooks::keeps_conditions(&answered))
            }
            // An apply is held against the schema.
            Err(kube::Error::Api(status)) if status.message.contains("matchConditions") => {
                Ok(false)
            }
            Err(error) => Err(Error::api("try matchConditions")(error)),
        }
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
            match_conditions: settings.match_conditions,
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

    /// Servers before 1.21 do not label namespaces with their names, and
    /// without conditions these labels are how system namespaces are told.
    async fn name_namespaces(&self, memory: &mut Memory) -> Result<(), Error> {
        use k8s_openapi::api::core::v1::Namespace;
        const LABEL: &str = "kubernetes.io/metadata.name";
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        for name in &self.settings.system_namespaces {
            let found = match namespaces.get_opt(name).await {
                Ok(found) => found,
                Err(error) if code(&error) == Some(403) => {
                    if super::turn::news(memory, "SystemNamespaces", "unread") {
                        warn!(
                            "system namespaces may not be read: their labels are not looked after"
                        );
                    }
                    continue;
                }
                Err(error) => return Err(Error::api(format!("read the namespace {name}"))(error)),
            };
            let labels = found.map(|it| it.metadata.labels.unwrap_or_default());
            if labels.is_some_and(|labels| !labels.contains_key(LABEL)) {
                let patch = json!({ "metadata": { "labels": { LABEL: name } } });
                api::merge(&namespaces, name, &patch).await?;
                info!(namespace = name, "labelled with its name");
            }
        }
        Ok(())
    }
}
