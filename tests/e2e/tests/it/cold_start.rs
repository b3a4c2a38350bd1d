//! The whole cluster is switched off and started again. Everything is stored, also the
//! rule that ordinary pods are refused without a review, and nothing runs.

use std::collections::BTreeSet;

use anyhow::Result;
use image_swap_e2e::{DEADLINE, HelmCluster, Install};
use image_swap_testbed::{Wait, is_ready, until};
use serde_json::{Value, json};

use crate::{
    NGINX, assert_air_gap, image, publish_nginx,
    workloads::{deploy, pods, run_mirrored, wait_refused},
};

const NAMESPACE: &str = "cold";
const ALL: &str = "/api/v1/pods";
const OF_THE_RELEASE: &str =
    "/api/v1/namespaces/default/pods?labelSelector=app.kubernetes.io/name=image-swap";

// guarantee: 4a, 4f
#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn cluster_starts_cold_with_swapped_pods() -> Result<()> {
    let mut cluster = HelmCluster::start()?;
    publish_nginx(&cluster)?;
    cluster.control_plane.create_namespace(NAMESPACE)?;
    let palette = Install::default();
    cluster.install(&palette)?;
    deploy(&cluster, NAMESPACE, "before")?;
    run_mirrored(&cluster, "kube-system", "before", json!({}))?;
    cluster.kubectl(&["rollout", "status", "deployment/before", "--namespace", NAMESPACE])?;
    cluster.wait_pod("kube-system", "before")?;
    let registered = cluster.registration(&palette)?.unwrap();
    let ran: BTreeSet<String> = pods(&cluster, ALL)?.iter().flat_map(containers).collect();

    cluster.step("the whole cluster is switched off");
    cluster.node.power_off()?;
    cluster.control_plane.power_off()?;

    cluster.step("the control plane is on again, the node is not: an ordinary pod waits");
    cluster.control_plane.wait_ready()?;
    deploy(&cluster, NAMESPACE, "meanwhile")?;
    wait_refused(&cluster, NAMESPACE)?;
    cluster.step("a system pod and a new replica are stored");
    run_mirrored(&cluster, "kube-system", "meanwhile", json!({}))?;
    let of_the_release = replace_one(&cluster)?;

    cluster.step("the node is on again: every pod starts by itself");
    cluster.node.wait_ready(&cluster.control_plane)?;
    // Four workloads, and the agent of the node.
    let wanted = of_the_release + 5;
    let found = until("every pod to run again", DEADLINE, || {
        let found = pods(&cluster, ALL)?;
        let run = found.iter().filter(|pod| runs_anew(pod, &ran)).count();
        let states = || found.iter().map(|pod| pod["status"].to_string()).collect::<Vec<_>>();
        if found.len() == wanted && run == wanted {
            Ok(found)
        } else {
            Err(Wait::NotYet(format!("{run} of {wanted}: {:?}", states())))
        }
    })?;
    let ordinary = found.iter().filter(|pod| pod["metadata"]["namespace"] == NAMESPACE);
    let images: Vec<&str> = ordinary.map(image).collect();
    assert_eq!(images, [NGINX, NGINX]);
    cluster.wait_ready(&palette)?;
    assert_eq!(cluster.swapped("nginx:1.25")?, NGINX);
    let now = cluster.registration(&palette)?.unwrap();
    // Each change increments the generation: the policy was never lowered.
    assert_eq!(now["metadata"]["generation"], registered["metadata"]["generation"]);
    assert_eq!(now["webhooks"], registered["webhooks"]);
    assert_air_gap(&cluster);
    Ok(())
}

/// Deletes a replica, as of a node that never comes back, and waits until the next one
/// is stored. Returns the number of pods of the release.
fn replace_one(cluster: &HelmCluster) -> Result<usize> {
    let names = || -> Result<Vec<String>, image_swap_testbed::Error> {
        let name = |pod: &Value| pod["metadata"]["name"].as_str().map(str::to_owned);
        Ok(pods(cluster, OF_THE_RELEASE)?.iter().filter_map(name).collect())
    };
    let before = names()?;
    let lost = before.iter().find(|name| name.contains("-admission-")).unwrap();
    cluster.kubectl(&["delete", "pod", lost, "--grace-period=0", "--force", "--wait=false"])?;
    until("the next replica", DEADLINE, || {
        let now = names()?;
        let is_replaced = now.len() == before.len() && !now.contains(lost);
        is_replaced.then_some(now.len()).ok_or_else(|| Wait::NotYet(format!("{now:?}")))
    })
    .map_err(Into::into)
}

/// Returns true if all containers of a pod are ready, and none of them is in `ran`. The
/// stored state of pods on a node that is off stays as it was.
fn runs_anew(pod: &Value, ran: &BTreeSet<String>) -> bool {
    let mut containers = containers(pod).peekable();
    is_ready(pod) && containers.peek().is_some() && containers.all(|id| !ran.contains(&id))
}

/// Returns the ids of a pod's containers.
fn containers(pod: &Value) -> impl Iterator<Item = String> {
    let statuses = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    statuses.filter_map(|status| status["containerID"].as_str().map(str::to_owned))
}
