//! Finds pods that are deleted and created again, over and over, because their operator
//! compares images: [`image_swap_core::cluster::recreated`] decides.
//!
//! Watches the metadata of all pods, and keeps swapped pods whose owner may compare images:
//! a few in most clusters.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures_util::{StreamExt, pin_mut};
use image_swap_core::{
    cluster::recreated::{OwnedPod, PodOwner, RecreatedPod, Recreations},
    labels,
    status::RecreatedPods,
};
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::{
    Api, Client,
    core::ObjectMeta,
    runtime::{
        WatchStreamExt,
        watcher::{self, watcher},
    },
};
use serde::Deserialize;
use tokio::{
    sync::{Notify, watch},
    time::{MissedTickBehavior, interval},
};
use tracing::{debug, warn};

use crate::{
    clock::now,
    error::watch_reason,
    events::Events,
    follow::{Patience, all},
    outline::partial_resource,
};

/// The number of pods that are read at once.
const PAGE: u32 = 100;
/// The time between two looks at what is too old to count.
const LOOK: Duration = Duration::from_mins(1);
/// The number of pods that a report names.
const NAMED: usize = 20;

/// The watch of all pods.
pub(crate) struct RecreationWatch {
    pub(crate) client: Client,
    pub(crate) events: Events,
    /// The pods that are created again and again, for the report.
    pub(crate) report: watch::Sender<Vec<RecreatedPods>>,
    /// Notified when they change.
    pub(crate) changed: Arc<Notify>,
}

impl RecreationWatch {
    /// Watches, for ever.
    pub(crate) async fn run(self) {
        let pods: Api<PodOutline> = Api::all(self.client.clone());
        let pods = watcher(pods, all().page_size(PAGE)).backoff(Patience::default());
        pin_mut!(pods);
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut recreations = Recreations::default();
        let mut warned = BTreeSet::new();
        loop {
            let is_news = tokio::select! {
                Some(event) = pods.next() => take(&mut recreations, event),
                _ = look.tick() => true,
            };
            if is_news {
                let found = recreations.recreated(now());
                self.warn(&found, &mut warned).await;
                self.publish(&found);
            }
        }
    }

    /// Warns once of each owner.
    async fn warn(&self, found: &[RecreatedPod], warned: &mut BTreeSet<String>) {
        warned.retain(|uid| found.iter().any(|pod| pod.owner.uid == *uid));
        for pod in found {
            if !warned.insert(pod.owner.uid.clone()) {
                continue;
            }
            let RecreatedPod { namespace, owner, .. } = pod;
            let note = RecreatedPods::from(pod).message();
            warn!(namespace, kind = owner.kind, name = owner.name, "{note}");
            let about = ObjectReference {
                api_version: Some(owner.api_version.clone()),
                kind: Some(owner.kind.clone()),
                namespace: Some(namespace.clone()),
                name: Some(owner.name.clone()),
                uid: Some(owner.uid.clone()),
                ..ObjectReference::default()
            };
            self.events.warn_of(&about, "PodsRecreated", &note).await;
        }
    }

    fn publish(&self, found: &[RecreatedPod]) {
        let found: Vec<RecreatedPods> = found.iter().take(NAMED).map(RecreatedPods::from).collect();
        let is_news = self.report.send_if_modified(|before| {
            let is_news = *before != found;
            *before = found;
            is_news
        });
        if is_news {
            self.changed.notify_one();
        }
    }
}

/// Takes an event; returns true for a recreation.
fn take(
    recreations: &mut Recreations,
    event: Result<watcher::Event<PodOutline>, watcher::Error>,
) -> bool {
    match event {
        Ok(watcher::Event::Init) => recreations.begin_list(),
        Ok(watcher::Event::InitApply(pod)) => {
            return pod.owned.is_some_and(|pod| recreations.list(&pod, now()));
        }
        Ok(watcher::Event::InitDone) => recreations.end_list(),
        Ok(watcher::Event::Apply(pod)) => {
            return pod.owned.is_some_and(|pod| recreations.add(&pod, now()));
        }
        Ok(watcher::Event::Delete(pod)) => {
            return pod.owned.is_some_and(|pod| recreations.remove(&pod, now()));
        }
        Err(error) => debug!(error = watch_reason(&error), "the watch of pods begins again"),
    }
    false
}

/// The metadata of a pod that matter here.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "WholePod")]
struct PodOutline {
    names: ObjectMeta,
    /// The pod; `None` if it was not swapped, or its owner compares no images.
    owned: Option<OwnedPod>,
}

/// A pod as the API server sends it.
#[derive(Deserialize)]
struct WholePod {
    metadata: PodMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodMetadata {
    name: Option<String>,
    generate_name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    annotations: Option<labels::PodAnnotations>,
    labels: Option<PodLabels>,
    owner_references: Option<Vec<OwnerReference>>,
}

#[derive(Deserialize)]
struct PodLabels {
    #[serde(rename = "controller-revision-hash")]
    revision: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OwnerReference {
    api_version: String,
    kind: String,
    name: String,
    uid: String,
    controller: Option<bool>,
}

impl From<WholePod> for PodOutline {
    fn from(WholePod { metadata }: WholePod) -> Self {
        Self {
            owned: metadata.owned(),
            names: ObjectMeta {
                name: metadata.name,
                namespace: metadata.namespace,
                uid: metadata.uid,
                resource_version: metadata.resource_version,
                ..ObjectMeta::default()
            },
        }
    }
}

impl PodMetadata {
    fn owned(&self) -> Option<OwnedPod> {
        let originals = self.annotations.as_ref()?.original_images.as_deref()?;
        let owners = self.owner_references.as_deref()?;
        let owner = owners.iter().find(|it| it.controller == Some(true)).or(owners.first())?;
        if !OwnedPod::is_candidate(&owner.api_version, &owner.kind) {
            return None;
        }
        let prefix = self.generate_name.as_deref().filter(|prefix| !prefix.is_empty());
        // A StatefulSet sets both: its pods' names are stable.
        let prefix = prefix.filter(|_| owner.kind != "StatefulSet");
        let revision = self.labels.as_ref().and_then(|labels| labels.revision.as_deref());
        Some(OwnedPod {
            uid: self.uid.clone()?,
            namespace: self.namespace.clone()?,
            stem: prefix.or(self.name.as_deref())?.to_owned(),
            owner: PodOwner {
                api_version: owner.api_version.clone(),
                kind: owner.kind.clone(),
                name: owner.name.clone(),
                uid: owner.uid.clone(),
            },
            version: OwnedPod::version(originals, revision.unwrap_or_default()),
        })
    }
}

partial_resource!(PodOutline, Pod, metadata);

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn mk_pod(annotations: &Value, owners: &Value) -> PodOutline {
        let pod = json!({
            "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
            "metadata": {
                "name": "db-0", "namespace": "shop", "uid": "1", "resourceVersion": "2",
                "labels": { "controller-revision-hash": "a" },
                "annotations": annotations, "ownerReferences": owners,
            },
        });
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn swapped_pod_with_a_controller_is_read() {
        let owners = json!([
            { "apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "3" },
            { "apiVersion": "example.org/v1", "kind": "Database", "name": "db", "uid": "4", "controller": true },
        ]);
        let record = json!({ labels::ORIGINAL_IMAGES: "{}", "other": "a" });
        let pod = mk_pod(&record, &owners).owned.unwrap();
        assert_eq!((&*pod.stem, &*pod.owner.kind, &*pod.owner.uid), ("db-0", "Database", "4"));
        for (annotations, owners) in [
            (Value::Null, owners),
            (record.clone(), Value::Null),
            (record, json!([{ "apiVersion": "batch/v1", "kind": "Job", "name": "a", "uid": "3" }])),
        ] {
            assert_eq!(mk_pod(&annotations, &owners).owned, None, "{annotations} {owners}");
        }
    }
}
