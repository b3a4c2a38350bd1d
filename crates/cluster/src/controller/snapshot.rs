//! The stored objects, read again for every reconciliation.

use image_swap_core::{
    control::{effective::Effective, webhooks::Anchor},
    labels::{self, JET_SYSTEM, REGISTRY_INFO},
    status::{ServedDeclaration, StoredDeclaration},
};
use k8s_openapi::{
    api::{
        core::v1::{ConfigMap, Namespace, Secret},
        rbac::v1::ClusterRole,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, api::DynamicObject};
use serde_json::Value;
use tokio::join;

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
    pub(super) namespace: Fetched<DynamicObject>,
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
        let anchors = api::all::<ClusterRole, DynamicObject>(&self.client);
        let namespaces = api::all::<Namespace, _>(&self.client);
        let declared: Api<Secret> = Api::namespaced(self.client.clone(), JET_SYSTEM);
        let secrets = self.secrets();
        let registrations = api::registrations(&self.client);
        let own = async |name: Option<String>| match name {
            Some(name) => get(&secrets, &name).await,
            None => Ok(None),
        };
        let existing = self.settings.tls_existing_secret.clone();
        let generated = existing.is_none().then(|| release.authority());
        let admission = release.admission();
        let (anchor, namespace, registry, chart, effective, last, authority, leaf, found) = join!(
            get(&anchors, release.anchor()),
            get(&namespaces, &release.namespace),
            get(&declared, REGISTRY_INFO),
            own(self.settings.chart_secret.clone()),
            own(Some(release.effective())),
            own(Some(release.last_good())),
            own(generated),
            own(Some(existing.unwrap_or_else(|| release.certificate()))),
            get(&registrations, &admission),
        );
        let anchor = anchor?.ok_or_else(|| Error::NoAnchor(release.anchor().to_owned()))?.metadata;
        Ok(Snapshot {
            owner: Anchor {
                name: release.anchor().to_owned(),
                uid: anchor.uid.clone().unwrap_or_default(),
            },
            // Helm's own mark: the release's objects are being deleted.
            leaving: is_left(&anchor) || anchor.deletion_timestamp.is_some(),
            anchor,
            authority,
            certificate: leaf,
            chart,
            effective,
            last_good: last,
            namespace,
            registry_info: registry,
            registration: found.map(|object| object.and_then(|it| serde_json::to_value(it).ok())),
        })
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

    /// Returns the declaration that replicas serve.
    ///
    /// # Errors
    /// The object could not be read.
    pub(super) fn served(&self) -> Result<Option<ServedDeclaration>, Error> {
        let Some(secret) = found(&self.effective)? else { return Ok(None) };
        Ok(ServedDeclaration::read(|key| text(secret, key)))
    }
}

/// Returns true if `namespace` is being deleted.
pub(super) fn is_ending(namespace: &DynamicObject) -> bool {
    namespace.metadata.deletion_timestamp.is_some()
}

/// Returns true if an administrator marked the release of `anchor` as leaving.
pub(super) fn is_left(anchor: &ObjectMeta) -> bool {
    let annotations = anchor.annotations.as_ref();
    annotations.and_then(|all| all.get(labels::LEAVING)).is_some_and(|mark| mark == "true")
}
