//! The whole cluster is switched off and started cold: everything is stored, among
//! it that pods are refused which nobody reviews, and nothing runs.

use std::collections::BTreeSet;

use anyhow::Result;
use image_swap_e2e::{DEADLINE, Install, Stage};
use image_swap_testbed::{Wait, until};
use serde_json::Value;

use crate::{
    NGINX, image,
    people::{mirrored, ordinary, pods, wait_refused},
};

/// Where ordinary Deployments are; it has to be there.
pub(crate) const NAMESPACE: &str = "cold";
const ALL: &str = "/api/v1/pods";
const OURS: &str =
    "/api/v1/namespaces/default/pods?labelSelector=app.kubernetes.io/name=image-swap";

pub(crate) fn start(stage: &mut Stage) -> Result<()> {
    let page = Install::default();
    stage.step("the whole cluster is switched off");
    ordinary(stage, NAMESPACE, "before")?;
    mirrored(stage, "kube-system", "before")?;
    stage.kubectl(&["rollout", "status", "deployment/before", "--namespace", NAMESPACE])?;
    stage.wait_pod("kube-system", "before")?;
    let registered = stage.registration(&page)?.unwrap();
    let ran: BTreeSet<String> = pods(stage, ALL)?.iter().flat_map(containers).collect();
    stage.node.power_off()?;
    stage.control_plane.power_off()?;

    stage.step("the control plane is on again, the node is not: an ordinary pod waits");
    stage.control_plane.wait_ready()?;
    ordinary(stage, NAMESPACE, "meanwhile")?;
    wait_refused(stage, NAMESPACE)?;
    stage.step("pods of the system are stored, and ours");
    mirrored(stage, "kube-system", "meanwhile")?;
    let ours = one_is_replaced(stage)?;

    stage.step("the node is on again: all of them start by themselves");
    stage.node.wait_ready(&stage.control_plane)?;
    let wanted = ours + 4;
    let found = until("every pod to run again", DEADLINE, || {
        let found = pods(stage, ALL)?;
        let run = found.iter().filter(|pod| runs_anew(pod, &ran)).count();
        let told = || found.iter().map(|pod| pod["status"].to_string()).collect::<Vec<_>>();
        if found.len() == wanted && run == wanted {
            Ok(found)
        } else {
            Err(Wait::NotYet(format!("{run} of {wanted}: {:?}", told())))
        }
    })?;
    let ordinary = found.iter().filter(|pod| pod["metadata"]["namespace"] == NAMESPACE);
    let images: Vec<&str> = ordinary.map(image).collect();
    assert_eq!(images, [NGINX, NGINX]);
    stage.wait_ready(&page)?;
    assert_eq!(stage.swapped("nginx:1.25")?, NGINX);
    let now = stage.registration(&page)?.unwrap();
    // Counted up by every change: pods were never let through unreviewed.
    assert_eq!(now["metadata"]["generation"], registered["metadata"]["generation"]);
    assert_eq!(now["webhooks"], registered["webhooks"]);

    stage.kubectl(&["delete", "--namespace", NAMESPACE, "deployment", "before", "meanwhile"])?;
    stage.kubectl(&["delete", "--namespace=kube-system", "pod", "before", "meanwhile"])?;
    Ok(())
}

/// Deletes one of our replicas, as of a node that never comes back, and waits for
/// the next one to be stored; how many pods of ours there are.
fn one_is_replaced(stage: &Stage) -> Result<usize> {
    let names = || -> Result<Vec<String>, image_swap_testbed::Error> {
        let name = |pod: &Value| pod["metadata"]["name"].as_str().map(str::to_owned);
        Ok(pods(stage, OURS)?.iter().filter_map(name).collect())
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

/// Whether all its containers are ready, and none of them is one that `ran` before.
/// What is stored of a node that is off says that all is well.
fn runs_anew(pod: &Value, ran: &BTreeSet<String>) -> bool {
    let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let is_ready = conditions.any(|it| it["type"] == "Ready" && it["status"] == "True");
    let mut containers = containers(pod).peekable();
    is_ready && containers.peek().is_some() && containers.all(|id| !ran.contains(&id))
}

/// The ids of its containers.
fn containers(pod: &Value) -> impl Iterator<Item = String> {
    let statuses = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    statuses.filter_map(|status| status["containerID"].as_str().map(str::to_owned))
}
