//! What runs.

use std::collections::BTreeSet;

use image_swap_core::{
    admission::ORIGINALS,
    cluster::{
        pods::{RunningPod, Tally},
        webhooks::EXEMPT_LABEL,
    },
    rule::RuleSet,
    workload::{DISABLED, MIRROR_ANNOTATION},
};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{Api, Client, api::ListParams, core::PartialObjectMeta};

use super::{Registry, StuckPods};
use crate::{error::Error, report::Held};

/// Pods that are read at a time.
const PAGE: u32 = 500;

/// Returns running pods by registry, and swapped pods that cannot start.
pub(super) async fn running(
    client: &Client,
    policy: Option<&Held>,
    rules: Option<&RuleSet>,
) -> Result<(Vec<Registry>, StuckPods), Error> {
    let apart = match policy {
        Some(policy) => namespaces_apart(client, policy).await?,
        None => BTreeSet::new(),
    };
    let label = policy.map(|policy| policy.label.as_str()).unwrap_or_default();
    let pods: Api<Pod> = Api::all(client.clone());
    let mut tally = Tally::default();
    let mut stuck = StuckPods::default();
    let alive = "status.phase!=Succeeded,status.phase!=Failed";
    let mut page = ListParams::default().fields(alive).limit(PAGE);
    loop {
        let list = pods.list(&page).await.map_err(Error::api("list running pods"))?;
        for pod in &list.items {
            stuck.add(pod);
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            if phase != Some("Running") {
                continue;
            }
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            tally.add(&read(pod, apart.contains(namespace), label), rules);
        }
        match list.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => page = page.continue_token(&next),
            None => break,
        }
    }
    let rows = tally.iter().map(|(registry, counts)| Registry {
        registry: registry.to_owned(),
        swapped: counts.swapped,
        unswapped: counts.unswapped,
        outdated: counts.outdated,
    });
    Ok((rows.collect(), stuck))
}

/// The namespaces that take no part.
async fn namespaces_apart(client: &Client, policy: &Held) -> Result<BTreeSet<String>, Error> {
    let Held { label, opt_in, .. } = policy;
    if label.is_empty() {
        return Ok(BTreeSet::new());
    }
    let namespaces: Api<PartialObjectMeta<Namespace>> = Api::all(client.clone());
    let selector =
        if *opt_in { format!("{label}!=enabled") } else { format!("{label}={DISABLED}") };
    let list = namespaces.list(&ListParams::default().labels(&selector)).await;
    let list = list.map_err(Error::api("list namespaces"))?;
    Ok(list.items.into_iter().filter_map(|namespace| namespace.metadata.name).collect())
}

fn read(pod: &Pod, apart: bool, label: &str) -> RunningPod {
    let labels = pod.metadata.labels.as_ref();
    let has = |key: &str, value: &str| {
        labels.and_then(|labels| labels.get(key)).is_some_and(|found| found == value)
    };
    let annotations = pod.metadata.annotations.as_ref();
    let record = annotations.and_then(|all| all.get(ORIGINALS)).cloned();
    let is_mirror = annotations.is_some_and(|all| all.contains_key(MIRROR_ANNOTATION));
    let mut images = Vec::new();
    if let Some(spec) = &pod.spec {
        let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
        images.extend(containers.filter_map(|it| Some((it.name.clone(), it.image.clone()?))));
        let volumes = spec.volumes.iter().flatten();
        images.extend(volumes.filter_map(|it| {
            Some((format!("volume:{}", it.name), it.image.as_ref()?.reference.clone()?))
        }));
    }
    let left_alone = apart || is_mirror || has(EXEMPT_LABEL, "true") || has(label, DISABLED);
    RunningPod { images, record, left_alone }
}
