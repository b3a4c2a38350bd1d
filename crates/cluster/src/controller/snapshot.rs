//! The stored objects, read again for every reconciliation.

use image_swap_core::{
    control::{effective::Effective, webhooks::Anchor},
    labels::{self, JET_SYSTEM, REGISTRY_INFO},
    status::StoredDeclaration,
};
use k8s_openapi::{
    api::{
        core::v1::{ConfigMap, Namespace, Secret},
        rbac::v1::ClusterRole,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Api;
use serde_json::Value;

use super::context::Controller;
use crate::{
    api::{self, get},
    error::Error,
    secret::text,
};

/// An object, `None` if there is none, or the reason why it cannot be read. A step that
/// depends on it fails; other steps are taken.
pub(super) type Fetched<T> = Result<Option<T>, Error>;

/// The objects that a reconciliation depends on.
pub(super) struct Snapshot {
    pub(super) owner: Anchor,
    /// The release's anchor, which owns everything that is made at run time.
    pub(super) anchor: ObjectMeta,
    pub(super) leaving: bool,
    /// The namespace of the release.
    pub(super) namespace: Fetched<Namespace>,
    pub(super) registry_info: Fetched<Secret>,
    pub(super) chart: Fetched<Secret>,
    pub(super) effective: Fetched<Secret>,
    pub(super) last_good: Fetched<Secret>,
    pub(super) authority: Fetched<Secret>,
    pub(super) certificate: Fetched<Secret>,
    pub(super) registration: Fetched<Value>,
}

impl Controller {
    pub(super) fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.settings.release.namespace)
    }

    /// Returns the `ConfigMap`s in the namespace of the release.
    pub(super) fn config_maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.settings.release.namespace)
    }

    /// Reads all objects.
    ///
    /// # Errors
    /// The anchor cannot be read: without it nothing may be made.
    pub(super) async fn snapshot(&self) -> Result<Snapshot, Error> {
        let release = &self.settings.release;
        let anchors: Api<ClusterRole> = Api::all(self.client.clone());
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let declared: Api<Secret> = Api::namespaced(self.client.clone(), JET_SYSTEM);
        let own = self.secrets();
        let registrations = api::registrations(&self.client);
        let (effective, last_good) = (release.effective(), release.last_good());
        let existing = self.settings.tls_existing_secret.as_deref();
        let generated = existing.is_none().then(|| release.authority());
        let certificate = existing.map_or_else(|| release.certificate(), str::to_owned);
        let admission = release.admission();
        let (
            anchor,
            namespace,
            registry_info,
            chart,
            effective,
            last_good,
            authority,
            certificate,
            found,
        ) = tokio::join!(
            get(&anchors, release.anchor()),
            get(&namespaces, &release.namespace),
            get(&declared, REGISTRY_INFO),
            optional(&own, self.settings.chart_secret.as_deref()),
            get(&own, &effective),
            get(&own, &last_good),
            optional(&own, generated.as_deref()),
            get(&own, &certificate),
            get(&registrations, &admission),
        );
        let anchor = anchor?.ok_or_else(|| Error::NoAnchor(release.anchor().to_owned()))?.metadata;
        let mark = anchor.annotations.as_ref().and_then(|all| all.get(labels::LEAVING));
        Ok(Snapshot {
            owner: Anchor {
                name: release.anchor().to_owned(),
                uid: anchor.uid.clone().unwrap_or_default(),
            },
            // Helm's own mark: the release's objects are being deleted.
            leaving: mark.is_some_and(|mark| mark == "true") || anchor.deletion_timestamp.is_some(),
            anchor,
            authority,
            certificate,
            chart,
            effective,
            last_good,
            namespace,
            registry_info,
            registration: found
                .map(|object| object.and_then(|object| serde_json::to_value(object).ok())),
        })
    }
}

async fn optional(api: &Api<Secret>, name: Option<&str>) -> Fetched<Secret> {
    match name {
        Some(name) => get(api, name).await,
        None => Ok(None),
    }
}

/// Returns the object that was read.
///
/// # Errors
/// The object could not be read.
pub(super) fn found<T>(read: &Fetched<T>) -> Result<Option<&T>, Error> {
    read.as_ref().map(Option::as_ref).map_err(|error| Error::Unread(error.to_string()))
}

impl Snapshot {
    /// Returns true if the namespace of the release is being deleted.
    pub(super) fn namespace_ends(&self) -> bool {
        matches!(&self.namespace, Ok(Some(namespace)) if is_ending(namespace))
    }

    /// Returns the declaration that was in force last.
    ///
    /// # Errors
    /// The object could not be read.
    pub(super) fn last(&self) -> Result<Option<Effective>, Error> {
        let Some(secret) = found(&self.last_good)? else { return Ok(None) };
        Ok(StoredDeclaration::read(|key| text(secret, key)).map(|StoredDeclaration(last)| last))
    }
}

/// Returns true if `namespace` is being deleted.
pub(super) fn is_ending(namespace: &Namespace) -> bool {
    namespace.metadata.deletion_timestamp.is_some()
}
