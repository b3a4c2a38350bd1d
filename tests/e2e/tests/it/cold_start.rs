//! The whole cluster is switched off and started again. Everything is stored, also the
//! rule that ordinary pods are refused without a review, and nothing runs.

use std::collections::BTreeSet;

use anyhow::Result;
use image_swap_e2e::{DEADLINE, Install, Stage};
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

#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn cluster_starts_cold_with_swapped_pods() -> Result<()> {
    let mut stage = Stage::start()?;
    publish_nginx(&stage)?;
    stage.control_plane.create_namespace(NAMESPACE)?;
    let page = Install::default();
    stage.install(&page)?;
    deploy(&stage, NAMESPACE, "before")?;
    run_mirrored(&stage, "kube-system", "before", json!({}))?;
    stage.kubectl(&["rollout", "status", "deployment/before", "--namespace", NAMESPACE])?;
    stage.wait_pod("kube-system", "before")?;
    let registered = stage.registration(&page)?.unwrap();
    let ran: BTreeSet<String> = pods(&stage, ALL)?.iter().flat_map(containers).collect();

    stage.step("the whole cluster is switched off");
    stage.node.power_off()?;
    stage.control_plane.power_off()?;

    stage.step("the control plane is on again, the node is not: an ordinary pod waits");
    stage.control_plane.wait_ready()?;
    deploy(&stage, NAMESPACE, "meanwhile")?;
    wait_refused(&stage, NAMESPACE)?;
    stage.step("a system pod and a new replica are stored");
    run_mirrored(&stage, "kube-system", "meanwhile", json!({}))?;
    let of_the_release = replace_one(&stage)?;

    stage.step("the node is on again: every pod starts by itself");
    stage.node.wait_ready(&stage.control_plane)?;
    let wanted = of_the_release + 4;
    let found = until("every pod to run again", DEADLINE, || {
        let found = pods(&stage, ALL)?;
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
    stage.wait_ready(&page)?;
    assert_eq!(stage.swapped("nginx:1.25")?, NGINX);
    let now = stage.registration(&page)?.unwrap();
    // Each change increments the generation: the policy was never lowered.
    assert_eq!(now["metadata"]["generation"], registered["metadata"]["generation"]);
    assert_eq!(now["webhooks"], registered["webhooks"]);
    assert_air_gap(&stage);
    Ok(())
}

/// Deletes a replica, as of a node that never comes back, and waits until the next one
/// is stored. Returns the number of pods of the release.
fn replace_one(stage: &Stage) -> Result<usize> {
    let names = || -> Result<Vec<String>, image_swap_testbed::Error> {
        let name = |pod: &Value| pod["metadata"]["name"].as_str().map(str::to_owned);
        Ok(pods(stage, OF_THE_RELEASE)?.iter().filter_map(name).collect())
    };
    let before = names()?;
    let lost = before.iter().find(|name| name.contains("-admission-")).unwrap();
    stage.kubectl(&["delete", "pod", lost, "--grace-period=0", "--force", "--wait=false"])?;
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
