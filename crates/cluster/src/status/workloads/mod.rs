//! Counts running pods by registry and by their images: swapped or not.

use std::{collections::BTreeSet, str::FromStr};

use image_swap_core::{
    admission::{self, Settings},
    control::pods::{PodCounts, RunningPod},
    labels,
    rule::RuleSet,
    status::AdmissionStatus,
    workload::exempt::Exemptions,
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Namespace, Pod},
};
use kube::{Api, Client, api::ListParams, core::PartialObjectMeta};

use super::{RegistryPods, StuckPods};
use crate::error::Error;

/// Pods that are read at a time.
const PAGE: u32 = 500;

/// Returns running pods by registry, and swapped pods that cannot start.
pub(super) async fn running(
    client: &Client,
    policy: Option<&AdmissionStatus>,
    rules: Option<&RuleSet>,
    exemptions: Exemptions,
) -> Result<(Vec<RegistryPods>, StuckPods), Error> {
    let apart = match policy {
        Some(policy) => namespaces_apart(client, policy).await?,
        None => BTreeSet::new(),
    };
    let disable_label = policy.map(|policy| policy.label.clone()).unwrap_or_default();
    let settings = Settings { disable_label, exemptions, ..Settings::default() };
    let pods: Api<Pod> = Api::all(client.clone());
    let mut tally = PodCounts::default();
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
            let rules = rules.filter(|_| !apart.contains(namespace));
            tally.add(&read(pod, rules, &settings));
        }
        match list.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => page = page.continue_token(&next),
            None => break,
        }
    }
    let rows = tally.iter().map(|(registry, counts)| RegistryPods {
        registry: registry.to_owned(),
        swapped: counts.swapped,
        unswapped: counts.unswapped,
        outdated: counts.outdated,
    });
    Ok((rows.collect(), stuck))
}

/// Returns the exemptions of the replicas, by the arguments in their Deployment.
pub(super) fn exemptions(deployment: Option<&Deployment>) -> Exemptions {
    let spec = deployment.and_then(|it| it.spec.as_ref()?.template.spec.as_ref());
    let containers = spec.iter().flat_map(|spec| &spec.containers);
    let arguments: Vec<&str> =
        containers.flat_map(|it| it.args.iter().flatten()).map(String::as_str).collect();
    let is_off = arguments.contains(&"--default-exemptions=false");
    let list = if is_off { Exemptions::none() } else { Exemptions::default() };
    list.with(
        rows(&arguments, "--exempt-owners="),
        rows(&arguments, "--exempt-labels="),
        rows(&arguments, "--exempt-images="),
    )
}

/// Returns the values of a flag. A row of another version is left out.
fn rows<T: FromStr>(arguments: &[&str], flag: &str) -> Vec<T> {
    let values = arguments.iter().filter_map(|it| it.strip_prefix(flag));
    values.flat_map(|it| it.split(',')).filter_map(|it| it.parse().ok()).collect()
}

/// Returns the namespaces that the registration does not select.
async fn namespaces_apart(
    client: &Client,
    policy: &AdmissionStatus,
) -> Result<BTreeSet<String>, Error> {
    let AdmissionStatus { label, opt_in, .. } = policy;
    if label.is_empty() {
        return Ok(BTreeSet::new());
    }
    let namespaces: Api<PartialObjectMeta<Namespace>> = Api::all(client.clone());
    let selector =
        if *opt_in { format!("{label}!=enabled") } else { format!("{label}={}", labels::DISABLED) };
    let list = namespaces.list(&ListParams::default().labels(&selector)).await;
    let list = list.map_err(Error::api("list namespaces"))?;
    Ok(list.items.into_iter().filter_map(|namespace| namespace.metadata.name).collect())
}

/// Returns what is counted of `pod`. Without `rules` nothing of it would be swapped.
fn read(pod: &Pod, rules: Option<&RuleSet>, settings: &Settings) -> RunningPod {
    let annotations = pod.metadata.annotations.as_ref();
    let record = annotations.and_then(|all| all.get(labels::ORIGINAL_IMAGES)).cloned();
    let mut images = Vec::new();
    if let Some(spec) = &pod.spec {
        let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
        images.extend(containers.filter_map(|it| Some((it.name.clone(), it.image.clone()?))));
        let volumes = spec.volumes.iter().flatten();
        images.extend(volumes.filter_map(|it| {
            Some((format!("volume:{}", it.name), it.image.as_ref()?.reference.clone()?))
        }));
    }
    let labels = pod.metadata.labels.as_ref();
    let is_reviewed =
        labels.is_none_or(|all| all.get(labels::EXEMPT).is_none_or(|it| it != "true"));
    let json = rules.filter(|_| is_reviewed).zip(serde_json::to_vec(pod).ok());
    let to_swap = json.and_then(|(rules, pod)| admission::to_swap(&pod, rules, settings).ok());
    RunningPod { images, record, to_swap: to_swap.unwrap_or_default() }
}

#[cfg(test)]
mod tests;
