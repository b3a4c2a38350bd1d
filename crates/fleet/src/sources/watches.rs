//! Watches of the objects that stand for clusters, and of the metadata of Secrets.

use std::{pin::pin, sync::Arc, time::Duration};

use futures_util::StreamExt;
use image_swap_cluster::{
    error::{is_refused, reason, watch_code, watch_reason},
    object_watch::{WatchBackoff, all},
};
use image_swap_core::fleet::inventory::{
    ClusterKey, ClusterSource, cluster_api, cluster_profile, found::FoundCluster, labelled,
};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject},
    core::{ObjectMeta, PartialObjectMeta},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use serde_json::json;
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{debug, info, warn};

use super::{
    discovery::{ApiKind, served},
    event::{SecretKey, SourceEvent},
    settings::SourceSettings,
};

/// Objects in a page of a list. Those of Cluster API may have 100 KiB.
const PAGE: u32 = 50;
/// The shortest time between two searches.
const SEARCH_AGAIN: Duration = Duration::from_secs(1);
/// The wait after the API server has refused a watch.
const REFUSED: Duration = Duration::from_secs(10);

/// Receiver of events. A closed one ends a watch.
type EventSender = mpsc::Sender<SourceEvent>;

const CLUSTERS: ApiKind = ApiKind {
    group: cluster_api::GROUP,
    kind: cluster_api::KIND,
    versions: &cluster_api::VERSIONS,
};
const PROFILES: ApiKind = ApiKind {
    group: cluster_profile::GROUP,
    kind: cluster_profile::KIND,
    versions: &cluster_profile::VERSIONS,
};

/// Objects of one source.
#[derive(Clone)]
struct ObjectReader {
    source: ClusterSource,
    settings: Arc<SourceSettings>,
}

impl ObjectReader {
    fn kind(&self) -> ApiKind {
        match self.source {
            ClusterSource::ClusterProfile => PROFILES,
            ClusterSource::ClusterApi | ClusterSource::Kubeconfig | ClusterSource::Pull => CLUSTERS,
        }
    }

    fn found(&self, mut object: DynamicObject, resource: &ApiResource) -> Option<FoundCluster> {
        object.metadata.managed_fields = None;
        let mut value = serde_json::to_value(object).unwrap_or_default();
        value["apiVersion"] = resource.api_version.clone().into();
        match self.source {
            ClusterSource::ClusterProfile => {
                cluster_profile::found(&value, &self.settings.providers)
            }
            ClusterSource::ClusterApi | ClusterSource::Kubeconfig | ClusterSource::Pull => {
                cluster_api::found(&value)
            }
        }
    }
}

/// Reports the objects of `source` in all namespaces of `settings`. An absent API is searched for
/// again. Never ends.
pub(super) async fn follow_objects(
    client: Client,
    source: ClusterSource,
    settings: Arc<SourceSettings>,
    events: EventSender,
) {
    let reader = ObjectReader { source, settings };
    let kind = reader.kind();
    let lost = Arc::new(Notify::new());
    // The version with its watches; `None` before the first search.
    let mut current: Option<(Option<ApiResource>, JoinSet<()>)> = None;
    let mut is_missed = false;
    loop {
        match served(&client, kind).await {
            // An API server that has just started serves custom resources a little later.
            Ok(None) if !is_missed && current.as_ref().is_none_or(|(last, _)| last.is_some()) => {
                is_missed = true;
                sleep(SEARCH_AGAIN).await;
                continue;
            }
            Ok(found) if current.as_ref().is_none_or(|(last, _)| *last != found) => {
                let version = found.as_ref().map_or("none", |it| it.version.as_str());
                info!(group = kind.group, kind = kind.kind, version, "following objects");
                let mut watches = JoinSet::new();
                for namespace in &reader.settings.namespaces {
                    let namespace = namespace.clone();
                    if let Some(resource) = &found {
                        let api = Api::namespaced_with(client.clone(), &namespace, resource);
                        let (resource, lost) = (resource.clone(), Arc::clone(&lost));
                        let (reader, events) = (reader.clone(), events.clone());
                        watches.spawn(objects(api, namespace, resource, reader, events, lost));
                    } else {
                        let clusters = Vec::new();
                        let listed = SourceEvent::Listed { namespace, source, clusters };
                        if events.send(listed).await.is_err() {
                            return;
                        }
                    }
                }
                current = Some((found, watches));
                is_missed = false;
            }
            Ok(_) => is_missed = false,
            Err(error) => {
                debug!(group = kind.group, error = reason(&error), "cannot search for the API");
            }
        }
        // A failing search before the first success is repeated soon.
        let usual = reader.settings.search_interval;
        let wait = if current.is_none() { SEARCH_AGAIN } else { usual };
        if timeout(wait, lost.notified()).await.is_ok() {
            sleep(SEARCH_AGAIN).await;
        }
    }
}

/// Reports the objects of `source` in one namespace. `lost` is notified if the API server no longer
/// serves the API.
async fn objects(
    api: Api<DynamicObject>,
    namespace: String,
    resource: ApiResource,
    reader: ObjectReader,
    events: EventSender,
    lost: Arc<Notify>,
) {
    let source = reader.source;
    let mut config = all().page_size(PAGE);
    if !reader.settings.selector.is_empty() {
        config = config.labels(&reader.settings.selector.to_string());
    }
    let mut stream = pin!(watcher(api, config).backoff(WatchBackoff::default()));
    let mut listing = Vec::new();
    let mut failing = false;
    while let Some(event) = stream.next().await {
        let event = match event {
            Ok(event) => {
                failing = false;
                event
            }
            Err(error) => {
                if watch_code(&error) == Some(404) {
                    lost.notify_one();
                }
                if is_lasting(&error, &resource.plural, &namespace, &mut failing) {
                    let unlisted = SourceEvent::Unlisted { namespace: namespace.clone(), source };
                    if events.send(unlisted).await.is_err() {
                        return;
                    }
                    sleep(REFUSED).await;
                }
                continue;
            }
        };
        let report = match event {
            Event::Init => {
                listing.clear();
                continue;
            }
            Event::InitApply(object) => {
                listing.extend(reader.found(object, &resource));
                continue;
            }
            Event::InitDone => {
                let clusters = std::mem::take(&mut listing);
                SourceEvent::Listed { namespace: namespace.clone(), source, clusters }
            }
            Event::Apply(object) => match reader.found(object, &resource) {
                Some(found) => SourceEvent::Changed(Box::new(found)),
                None => continue,
            },
            Event::Delete(object) => match reader.found(object, &resource) {
                Some(found) => SourceEvent::Gone(found.key),
                None => continue,
            },
        };
        if events.send(report).await.is_err() {
            return;
        }
    }
}

/// Sources of labelled Secrets.
const LABELLED: [ClusterSource; 2] = [ClusterSource::Kubeconfig, ClusterSource::Pull];

/// Reports the versions of the Secrets in one namespace, and the labelled ones as clusters. Never
/// ends.
pub(super) async fn follow_secrets(
    client: Client,
    namespace: String,
    settings: Arc<SourceSettings>,
    events: EventSender,
) {
    let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(client, &namespace);
    let config = all().page_size(PAGE);
    let mut stream = pin!(watcher(api, config).backoff(WatchBackoff::default()));
    let labels = LABELLED.into_iter().filter(|source| settings.sources.contains(source));
    let labels: Vec<ClusterSource> = labels.collect();
    let labelled = |metadata: &ObjectMeta| {
        let metadata = ObjectMeta { managed_fields: None, ..metadata.clone() };
        labelled::found(&json!({ "metadata": metadata }), &settings.selector)
            .filter(|found| settings.sources.contains(&found.key.source))
    };
    let mut listing = Vec::new();
    let mut failing = false;
    while let Some(event) = stream.next().await {
        let mut reports = Vec::new();
        let mut is_refused = false;
        match event {
            Ok(Event::Init) => {
                failing = false;
                listing.clear();
                reports.push(SourceEvent::SecretsListing { namespace: namespace.clone() });
            }
            Ok(Event::InitApply(PartialObjectMeta { metadata, .. })) => {
                listing.extend(labelled(&metadata));
                reports.extend(changed(&namespace, metadata));
            }
            Ok(Event::InitDone) => {
                reports.push(SourceEvent::SecretsListed { namespace: namespace.clone() });
                for source in &labels {
                    let (namespace, source) = (namespace.clone(), *source);
                    let of_source = |it: &mut FoundCluster| it.key.source == source;
                    let clusters = listing.extract_if(.., of_source).collect();
                    reports.push(SourceEvent::Listed { namespace, source, clusters });
                }
            }
            Ok(Event::Apply(PartialObjectMeta { metadata, .. })) => {
                failing = false;
                // A Secret may have lost its label, or have another one.
                let found = labelled(&metadata);
                let name = metadata.name.clone().unwrap_or_default();
                let is_other = |source: &&ClusterSource| {
                    found.as_ref().is_none_or(|found| found.key.source != **source)
                };
                let others = labels.iter().filter(is_other);
                reports.extend(others.map(|source| gone(&namespace, *source, &name)));
                reports.extend(found.map(|found| SourceEvent::Changed(Box::new(found))));
                reports.extend(changed(&namespace, metadata));
            }
            Ok(Event::Delete(PartialObjectMeta { metadata, .. })) => {
                let name = metadata.name.unwrap_or_default();
                reports.extend(labels.iter().map(|source| gone(&namespace, *source, &name)));
                let secret = SecretKey { namespace: namespace.clone(), name };
                reports.push(SourceEvent::Secret { secret, version: None });
            }
            Err(error) => {
                if is_lasting(&error, "secrets", &namespace, &mut failing) {
                    is_refused = true;
                    let unlisted = |source: &ClusterSource| SourceEvent::Unlisted {
                        namespace: namespace.clone(),
                        source: *source,
                    };
                    reports.extend(labels.iter().map(unlisted));
                }
            }
        }
        for report in reports {
            if events.send(report).await.is_err() {
                return;
            }
        }
        if is_refused {
            sleep(REFUSED).await;
        }
    }
}

fn gone(namespace: &str, source: ClusterSource, name: &str) -> SourceEvent {
    let (namespace, name) = (namespace.to_owned(), name.to_owned());
    SourceEvent::Gone(ClusterKey { namespace, source, name })
}

/// Returns the event of a Secret that exists.
fn changed(namespace: &str, metadata: ObjectMeta) -> Option<SourceEvent> {
    let secret = SecretKey { namespace: namespace.to_owned(), name: metadata.name? };
    Some(SourceEvent::Secret { secret, version: metadata.resource_version })
}

/// Logs the first failure of a watch in a row. Returns true if the API server refuses the watch.
fn is_lasting(error: &watcher::Error, kind: &str, namespace: &str, failing: &mut bool) -> bool {
    let is_refused = is_refused(error);
    let error = watch_reason(error);
    if is_refused && !*failing {
        warn!(namespace, error, "cannot watch {kind}; the last inventory of the namespace stays");
    } else {
        debug!(namespace, error, "restarting the watch of {kind}");
    }
    *failing = is_refused;
    is_refused
}
