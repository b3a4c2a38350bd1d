//! What is stored, read anew for every turn.

use image_swap_core::cluster::{
    effective::{Effective, JET_SYSTEM, Origin, REGISTRY_INFO},
    webhooks::Owner,
};
use k8s_openapi::api::{core::v1::Secret, rbac::v1::ClusterRole};
use kube::Api;
use serde_json::Value;

use super::Controller;
use crate::{
    api::{self, get},
    error::Error,
    release::LEAVING,
    secret::text,
};

/// Everything that a turn depends on.
pub(super) struct Snapshot {
    pub(super) owner: Owner,
    pub(super) leaving: bool,
    pub(super) registry_info: Option<Secret>,
    pub(super) chart: Option<Secret>,
    pub(super) effective: Option<Secret>,
    pub(super) last_good: Option<Secret>,
    pub(super) authority: Option<Secret>,
    pub(super) certificate: Option<Secret>,
    pub(super) registration: Option<Value>,
}

impl Controller {
    pub(super) fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.settings.release.namespace)
    }

    pub(super) async fn snapshot(&self) -> Result<Snapshot, Error> {
        let release = &self.settings.release;
        let anchors: Api<ClusterRole> = Api::all(self.client.clone());
        let theirs: Api<Secret> = Api::namespaced(self.client.clone(), JET_SYSTEM);
        let own = self.secrets();
        let registrations = api::registrations(&self.client);
        let (effective, last_good) = (release.effective(), release.last_good());
        let existing = self.settings.tls_existing_secret.as_deref();
        let ours = existing.is_none().then(|| release.authority());
        let certificate = existing.map_or_else(|| release.certificate(), str::to_owned);
        let admission = release.admission();
        let (anchor, registry_info, chart, effective, last_good, authority, certificate, found) = tokio::try_join!(
            get(&anchors, release.anchor()),
            get(&theirs, REGISTRY_INFO),
            optional(&own, self.settings.chart_secret.as_deref()),
            get(&own, &effective),
            get(&own, &last_good),
            optional(&own, ours.as_deref()),
            get(&own, &certificate),
            get(&registrations, &admission),
        )?;
        let anchor = anchor.ok_or_else(|| Error::NoAnchor(release.anchor().to_owned()))?;
        let annotations = anchor.metadata.annotations.unwrap_or_default();
        Ok(Snapshot {
            owner: Owner {
                name: release.anchor().to_owned(),
                uid: anchor.metadata.uid.unwrap_or_default(),
            },
            // Helm's own mark: the release's objects are being deleted.
            leaving: annotations.get(LEAVING).is_some_and(|mark| mark == "true")
                || anchor.metadata.deletion_timestamp.is_some(),
            registry_info,
            chart,
            effective,
            last_good,
            authority,
            certificate,
            registration: found.and_then(|object| serde_json::to_value(object).ok()),
        })
    }
}

async fn optional(api: &Api<Secret>, name: Option<&str>) -> Result<Option<Secret>, Error> {
    match name {
        Some(name) => get(api, name).await,
        None => Ok(None),
    }
}

impl Snapshot {
    /// What was in force last.
    pub(super) fn last(&self) -> Option<Effective> {
        let secret = self.last_good.as_ref()?;
        let origin = Origin::named(text(secret, "source")?)?;
        Some(Effective { origin, text: text(secret, "declaration")?.to_owned() })
    }
}
