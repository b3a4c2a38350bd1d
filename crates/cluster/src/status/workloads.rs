//! What runs.

use std::{collections::BTreeSet, str::FromStr};

use image_swap_core::{
    admission::ORIGINALS,
    cluster::{
        pods::{RunningPod, Tally},
        webhooks::EXEMPT_LABEL,
    },
    rule::RuleSet,
    workload::{DISABLED, MIRROR_ANNOTATION, exempt::Exemptions},
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Namespace, Pod},
};
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
    exemptions: &Exemptions,
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
            let apart = apart.contains(namespace) || is_exempt(pod, exemptions);
            tally.add(&read(pod, apart, label), rules);
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

fn is_exempt(pod: &Pod, exemptions: &Exemptions) -> bool {
    let labels = pod.metadata.labels.iter().flatten();
    let mut labels = labels.filter_map(|(key, value)| exemptions.label(key.as_bytes(), value));
    let owners = pod.metadata.owner_references.iter().flatten();
    let mut owners = owners.filter_map(|it| exemptions.owner(&it.api_version, &it.kind));
    labels.next().or_else(|| owners.next()).is_some()
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn exemptions_are_those_of_the_replicas() {
        let deployment = |arguments: &[&str]| {
            let containers = json!([{ "name": "admission", "args": arguments }]);
            let spec =
                json!({ "selector": {}, "template": { "spec": { "containers": containers } } });
            serde_json::from_value::<Deployment>(json!({ "spec": spec })).unwrap()
        };
        let pod: Pod = serde_json::from_value(json!({ "metadata": {
            "labels": { "tier": "data" },
            "ownerReferences": [
                { "apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "name": "a", "uid": "b" },
            ],
        }}))
        .unwrap();
        let off = "--default-exemptions=false";
        for (arguments, expected) in [
            (vec![], true),
            (vec![off], false),
            (vec![off, "--exempt-labels=app=a,tier=data"], true),
            (vec![off, "--exempt-owners=Cluster.postgresql.cnpg.io"], true),
            (vec![off, "--exempt-owners=Pooler.postgresql.cnpg.io"], false),
        ] {
            let exemptions = exemptions(Some(&deployment(&arguments)));
            assert_eq!(is_exempt(&pod, &exemptions), expected, "{arguments:?}");
        }
    }
}
