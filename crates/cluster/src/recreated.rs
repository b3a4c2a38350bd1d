//! Finds pods that are deleted and created again, over and over, because their operator
//! compares images: [`image_swap_core::control::recreated`] decides.
//!
//! Watches the metadata of all pods, and keeps swapped pods whose owner may compare images:
//! a few in most clusters.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures_util::StreamExt;
use image_swap_core::{
    control::recreated::{OwnedPod, PodOwner, RecreatedPod, Recreations},
    status::RecreatedPods,
};
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::{Client, Resource, runtime::watcher::Event};
use tokio::{
    sync::{Notify, watch},
    time::{MissedTickBehavior, interval},
};
use tracing::warn;

use crate::{
    api,
    clock::now,
    events::Events,
    object_watch::{all, pages},
    partial_meta::MetadataObject,
    report::send_new,
};

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
    /// Watches pods. Never returns.
    pub(crate) async fn run(self) {
        let mut pods = pages(api::all::<Pod, _>(&self.client), all(), "pods");
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
                let report = found.iter().take(NAMED).map(RecreatedPods::from).collect();
                if send_new(&self.report, report) {
                    self.changed.notify_one();
                }
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
}

/// Takes an event; returns true for a recreation.
fn take(recreations: &mut Recreations, event: Event<MetadataObject>) -> bool {
    match event {
        Event::Init => recreations.begin_list(),
        Event::InitDone => recreations.end_list(),
        Event::InitApply(pod) => {
            return owned(&pod).is_some_and(|pod| recreations.list(&pod, now()));
        }
        Event::Apply(pod) => return owned(&pod).is_some_and(|pod| recreations.add(&pod, now())),
        Event::Delete(pod) => {
            return owned(&pod).is_some_and(|pod| recreations.remove(&pod, now()));
        }
    }
    false
}

/// Returns the pod; `None` if it was not swapped, or its owner compares no images.
fn owned(pod: &MetadataObject) -> Option<OwnedPod> {
    let originals = pod.metadata.annotations.original_images.as_deref()?;
    let owners = pod.owners();
    let owner = owners.iter().find(|it| it.controller == Some(true)).or(owners.first())?;
    if !OwnedPod::is_candidate(&owner.api_version, &owner.kind) {
        return None;
    }
    let (namespace, name) = pod.name()?;
    let prefix = pod.meta().generate_name.as_deref().filter(|prefix| !prefix.is_empty());
    // A StatefulSet sets both: its pods' names are stable.
    let prefix = prefix.filter(|_| owner.kind != "StatefulSet");
    let revision = pod.label("controller-revision-hash").unwrap_or_default();
    Some(OwnedPod {
        uid: pod.uid()?.to_owned(),
        namespace: namespace.to_owned(),
        stem: prefix.unwrap_or(name).to_owned(),
        owner: PodOwner {
            api_version: owner.api_version.clone(),
            kind: owner.kind.clone(),
            name: owner.name.clone(),
            uid: owner.uid.clone(),
        },
        version: OwnedPod::version(originals, revision),
    })
}

#[cfg(test)]
mod tests {
    use image_swap_core::labels;
    use serde_json::{Value, json};

    use super::*;

    fn mk_pod(annotations: &Value, owners: &Value) -> Option<OwnedPod> {
        let pod = json!({
            "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
            "metadata": {
                "name": "db-0", "namespace": "shop", "uid": "1", "resourceVersion": "2",
                "labels": { "controller-revision-hash": "a" },
                "annotations": annotations, "ownerReferences": owners,
            },
        });
        owned(&serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn swapped_pod_with_a_controller_is_read() {
        let owners = json!([
            { "apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "3" },
            { "apiVersion": "example.org/v1", "kind": "Database", "name": "db", "uid": "4", "controller": true },
        ]);
        let record = json!({ labels::ORIGINAL_IMAGES: "{}", "other": "a" });
        let pod = mk_pod(&record, &owners).unwrap();
        assert_eq!((&*pod.stem, &*pod.owner.kind, &*pod.owner.uid), ("db-0", "Database", "4"));
        for (annotations, owners) in [
            (Value::Null, owners),
            (record.clone(), Value::Null),
            (record, json!([{ "apiVersion": "batch/v1", "kind": "Job", "name": "a", "uid": "3" }])),
        ] {
            assert_eq!(mk_pod(&annotations, &owners), None, "{annotations} {owners}");
        }
    }
}
