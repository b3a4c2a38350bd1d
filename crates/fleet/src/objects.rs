//! `WorkloadCluster` objects on the management cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use image_swap_cluster::Error;
use image_swap_core::{
    declaration::UnixTime,
    fleet::{
        bundle::FLEET_MANAGER,
        inventory::{ClusterKey, OriginObject, standing::KnownIdentity},
    },
    labels,
    status::workload_cluster::{
        ClusterEvent, ClusterObject, GROUP, KIND, PLURAL, VERSION, WorkloadClusterSpec,
        WorkloadClusterStatus,
    },
};
use kube::{
    Api, Client,
    api::{
        ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
    },
};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tracing::{info, warn};

use crate::{events::FleetEvents, sources::ListedSource};

/// Maximum number of objects in a page of a list.
const PAGE: u32 = 500;
/// Maximum number of writes at the same time, each over a connection of its own. A thousand
/// clusters that receive a declaration report it at the same time.
const WRITES: usize = 16;

/// Namespace and name of an object.
type ObjectKey = (String, String);

/// The objects of a release, and what they contain.
pub struct WorkloadClusters {
    client: Client,
    /// Name of the release of the management cluster.
    release: String,
    namespaces: Vec<String>,
    known: Mutex<BTreeMap<ObjectKey, KnownObject>>,
    writes: Semaphore,
    events: FleetEvents,
    /// Namespaces whose objects the API server refuses to list.
    refused: Mutex<BTreeSet<String>>,
}

/// Content of an object, as it was last read or written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct KnownObject {
    /// UID of the owner; empty without one.
    owner: String,
    /// Time of creation; 0 for an object of this process.
    created: UnixTime,
    spec: WorkloadClusterSpec,
    status: WorkloadClusterStatus,
}

/// Returns the resource `WorkloadCluster`.
pub fn resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, VERSION, KIND), PLURAL)
}

impl WorkloadClusters {
    /// Reads the objects of `release` in `namespaces`. Changes of them are published as `events`.
    ///
    /// # Errors
    /// The API server refuses the request, or cannot be reached.
    pub async fn load(
        client: &Client,
        release: &str,
        namespaces: &[String],
        events: FleetEvents,
    ) -> Result<Self, Error> {
        let objects = Self {
            client: client.clone(),
            release: release.to_owned(),
            namespaces: namespaces.to_vec(),
            known: Mutex::default(),
            writes: Semaphore::new(WRITES),
            events,
            refused: Mutex::default(),
        };
        objects.reload().await?;
        Ok(objects)
    }

    /// Reads all objects again: changes of other writers are noticed, and [`Self::publish`] repairs
    /// them. The objects of a namespace stay unknown while the API server refuses to list them.
    ///
    /// # Errors
    /// The API server refuses the request for another reason, or cannot be reached.
    pub async fn reload(&self) -> Result<(), Error> {
        let (mut found, mut refused) = (BTreeMap::new(), BTreeSet::new());
        for namespace in &self.namespaces {
            match self.list(namespace).await {
                Ok(listed) => found.extend(listed),
                Err(error) if error.code() == Some(403) => {
                    warn!(namespace, %error, "cannot read reports about workload clusters");
                    refused.insert(namespace.clone());
                }
                Err(error) => return Err(error),
            }
        }
        *self.known() = found;
        *lock(&self.refused) = refused;
        Ok(())
    }

    /// Reads the objects of `namespace` if the API server refused that before. An object that this
    /// process has written stays as it is known.
    pub async fn read_refused(&self, namespace: &str) {
        if !lock(&self.refused).contains(namespace) {
            return;
        }
        if let Ok(listed) = self.list(namespace).await {
            lock(&self.refused).remove(namespace);
            let mut known = self.known();
            for (key, object) in listed {
                known.entry(key).or_insert(object);
            }
        }
    }

    async fn list(&self, namespace: &str) -> Result<Vec<(ObjectKey, KnownObject)>, Error> {
        let labelled = format!("{}={}", labels::RELEASE, self.release);
        let listed = list(&self.objects(namespace), Some(&labelled)).await;
        let listed = listed.map_err(Error::api(format!("list {PLURAL} in {namespace}")))?;
        Ok(listed.iter().map(|it| (key(it), KnownObject::read(it))).collect())
    }

    /// Returns the status of the object of `key`; `None` without an object.
    pub fn status(&self, key: &ClusterKey) -> Option<WorkloadClusterStatus> {
        self.known().get(&object_key(key)).map(|it| it.status.clone())
    }

    /// Returns the identity that the object of `key` has from a former process; `None` without
    /// one, and if the object belonged to another entry of that name.
    pub fn former_identity(
        &self,
        key: &ClusterKey,
        origin: &OriginObject,
    ) -> Option<KnownIdentity> {
        let known = self.known();
        let found = known.get(&object_key(key)).filter(|it| it.owner == origin.uid)?;
        if found.status.cluster_uid.is_empty() {
            return None;
        }
        Some(KnownIdentity { uid: found.status.cluster_uid.clone(), since: found.created })
    }

    /// Creates the object of `key`, owned by `origin`, and writes `status`. Writes only what
    /// differs, and publishes an Event about an error that begins or ends. Returns true if anything
    /// was written.
    ///
    /// # Errors
    /// The API server refuses a write, or cannot be reached.
    pub async fn publish(
        &self,
        key: &ClusterKey,
        origin: &OriginObject,
        status: &WorkloadClusterStatus,
    ) -> Result<bool, Error> {
        let (namespace, name) = object_key(key);
        let spec = spec(key, origin);
        let known = self.known().get(&(namespace.clone(), name.clone())).cloned();
        let before = known.filter(|it| it.owner == origin.uid && it.spec == spec);
        let (is_there, before) = (before.is_some(), before.map(|it| it.status));
        if before.as_ref() == Some(status) {
            return Ok(false);
        }
        // The semaphore is never closed.
        let _turn = self.writes.acquire().await;
        let objects = self.objects(&namespace);
        let object = self.object(&namespace, &name, origin, &spec);
        if !is_there {
            apply(&objects, &name, &object).await?;
        }
        let written = match apply_status(&objects, &name, status).await {
            // Another writer deleted the object.
            Err(error) if is_there && error.code() == Some(404) => {
                self.known().remove(&(namespace.clone(), name.clone()));
                apply(&objects, &name, &object).await?;
                apply_status(&objects, &name, status).await
            }
            written => written,
        };
        let uid = written?.metadata.uid.unwrap_or_default();
        let key = (namespace, name);
        if let Some(event) = ClusterEvent::of(&before.unwrap_or_default(), status) {
            self.events.note_cluster(&key, &uid, event);
        }
        let owner = origin.uid.clone();
        let known = KnownObject { owner, created: 0, spec, status: status.clone() };
        self.known().insert(key, known);
        Ok(true)
    }

    /// Deletes the object of `key`. Returns false if there was none.
    ///
    /// # Errors
    /// The API server refuses the request, or cannot be reached.
    pub async fn delete(&self, key: &ClusterKey) -> Result<bool, Error> {
        self.delete_object(&object_key(key)).await
    }

    /// Deletes the objects whose key is not in `present`, apart from those of `refused` sources,
    /// whose clusters are not known. Returns their number.
    ///
    /// # Errors
    /// The API server refuses a request, or cannot be reached. All other objects are deleted.
    pub async fn retain(
        &self,
        present: impl IntoIterator<Item = &ClusterKey>,
        refused: &BTreeSet<ListedSource>,
    ) -> Result<usize, Error> {
        let present: BTreeSet<ObjectKey> = present.into_iter().map(object_key).collect();
        let is_gone = |it: &&ObjectKey| {
            let source = (it.0.clone(), ClusterKey::source_of(&it.1));
            !present.contains(*it) && !refused.contains(&source)
        };
        let gone: Vec<ObjectKey> = self.known().keys().filter(is_gone).cloned().collect();
        let mut failed = None;
        let mut count = 0;
        for key in gone {
            match self.delete_object(&key).await {
                Ok(_) => count += 1,
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(count), Err)
    }

    async fn delete_object(&self, key: &ObjectKey) -> Result<bool, Error> {
        let (namespace, name) = key;
        let objects = self.objects(namespace);
        let was_there = match objects.delete(name, &DeleteParams::default()).await {
            Ok(_) => true,
            Err(kube::Error::Api(status)) if status.code == 404 => false,
            Err(error) => return Err(Error::api(format!("delete {namespace}/{name}"))(error)),
        };
        self.known().remove(key);
        if was_there {
            info!(namespace, name, "deleted the WorkloadCluster: its source is gone");
        }
        Ok(was_there)
    }

    fn objects(&self, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &resource())
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<ObjectKey, KnownObject>> {
        lock(&self.known)
    }

    fn object(
        &self,
        namespace: &str,
        name: &str,
        origin: &OriginObject,
        spec: &WorkloadClusterSpec,
    ) -> Value {
        let OriginObject { api_version, kind, uid } = origin;
        json!({
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": KIND,
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": {
                    labels::APP_NAME: labels::IMAGE_SWAP,
                    labels::APP_MANAGED_BY: labels::IMAGE_SWAP,
                    labels::RELEASE: self.release,
                },
                "ownerReferences": [{
                    "apiVersion": api_version, "kind": kind, "name": spec.source.name, "uid": uid,
                }],
            },
            "spec": spec,
        })
    }
}

impl KnownObject {
    fn read(object: &DynamicObject) -> Self {
        let owner = object.metadata.owner_references.iter().flatten().next();
        let created = object.metadata.creation_timestamp.as_ref();
        let created = created.and_then(|it| UnixTime::try_from(it.0.as_second()).ok());
        let read = |field: &str| object.data[field].clone();
        Self {
            owner: owner.map(|it| it.uid.clone()).unwrap_or_default(),
            created: created.unwrap_or_default(),
            spec: serde_json::from_value(read("spec")).unwrap_or_default(),
            // An object of another writer has another status, which is written again.
            status: serde_json::from_value(read("status")).unwrap_or_default(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns all objects of `api` with `label`, page by page.
pub(crate) async fn list(
    api: &Api<DynamicObject>,
    label: Option<&str>,
) -> Result<Vec<DynamicObject>, kube::Error> {
    let mut params =
        ListParams { label_selector: label.map(str::to_owned), ..ListParams::default() };
    params = params.limit(PAGE);
    let mut found = Vec::new();
    loop {
        let page = api.list(&params).await?;
        found.extend(page.items);
        match page.metadata.continue_.filter(|it| !it.is_empty()) {
            Some(next) => params = params.continue_token(&next),
            None => return Ok(found),
        }
    }
}

async fn apply(api: &Api<DynamicObject>, name: &str, object: &Value) -> Result<(), Error> {
    let params = PatchParams::apply(FLEET_MANAGER).force();
    let written = api.patch(name, &params, &Patch::Apply(object)).await;
    written.map(drop).map_err(Error::api(format!("write the WorkloadCluster {name}")))
}

/// Writes a status. Returns the object.
async fn apply_status(
    api: &Api<DynamicObject>,
    name: &str,
    status: &WorkloadClusterStatus,
) -> Result<DynamicObject, Error> {
    let object = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": KIND,
        "metadata": { "name": name },
        "status": status,
    });
    let params = PatchParams::apply(FLEET_MANAGER).force();
    let written = api.patch_status(name, &params, &Patch::Apply(&object)).await;
    written.map_err(Error::api(format!("write the status of {name}")))
}

fn spec(key: &ClusterKey, origin: &OriginObject) -> WorkloadClusterSpec {
    WorkloadClusterSpec {
        source: ClusterObject {
            api_version: origin.api_version.clone(),
            kind: origin.kind.clone(),
            name: key.name.clone(),
        },
    }
}

fn object_key(key: &ClusterKey) -> ObjectKey {
    (key.namespace.clone(), key.object_name())
}

fn key(object: &DynamicObject) -> ObjectKey {
    let metadata = &object.metadata;
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}
