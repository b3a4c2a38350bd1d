//! The last step of Palette's documentation: a declaration of a management cluster reaches the
//! node of a workload cluster.

use anyhow::{Context, Result, ensure};
use image_swap_e2e::{
    DEADLINE, HelmCluster, HelmClusterOptions, Install, NodeFiles, PALETTE_VALUES, WorkloadPlane,
    pod,
};
use image_swap_testbed::{ControlPlane, Wait, until};
use serde_json::{Value, json};

use crate::{
    NGINX,
    agent::{DOCKER, EXEMPT, FIRST, SECOND, assert_pulled, declare, rules, write_static},
    assert_air_gap, image, publish_nginx,
};

/// The fleet controller alone: the node of the management cluster has its mirrors already.
const VALUES: &str = "\
agent: {enabled: false}
fleet:
  enabled: true
  namespaces: [clusters]
  canary: stage=canary
  values:
    agent:
      enabled: true
      fallback: never
      resync: 10s
      trialImage: docker.io/library/nginx:1.25
";

// guarantee: 1a, 7
#[test]
#[ignore = "needs two nodes: cargo xtask test"]
fn declaration_of_the_hub_reaches_the_node_of_a_workload_cluster() -> Result<()> {
    let hub = HelmCluster::start_with(HelmClusterOptions {
        hosts: vec![WorkloadPlane::host()],
        ..HelmClusterOptions::default()
    })?;
    publish_nginx(&hub)?;
    hub.publish("second/library/nginx", "1.25", "second", &["sleep", "inf"])?;
    let workload = hub.start_workload()?;
    let before = NodeFiles::of(&workload.node)?;

    hub.step("installing the fleet controller");
    hub.kubectl(&["create", "namespace", "clusters"])?;
    hub.install(&Install::with(&[PALETTE_VALUES, VALUES]))?;
    declare(&hub, &[])?;

    import(&hub, "edge-1", &workload.control_plane)?;
    hub.shell("kubectl label secret edge-1 --namespace clusters stage=canary")?;
    let revision = wait_in_force(&hub, 0)?;
    let printed = hub.shell("image-swap fleet status --all-namespaces")?;
    ensure!(printed.contains("edge-1") && printed.contains("InForce"), "{printed}");
    let mirror = format!("https://harbor.example.org/v2/{FIRST}");
    let shown = hosts(&workload)?;
    ensure!(shown.contains(&mirror), "{shown}");
    run_swapped(&hub, &workload)?;
    run_static(&hub, &workload, FIRST)?;

    let second = hub.start_api_server()?;
    import(&hub, "edge-2", &second)?;
    ensure!(wait_declared(&second, 0)? == revision);

    hub.step("another declaration");
    let before_second = mirrored(&workload)?;
    declare(&hub, &[("MIRROR_REGISTRIES", &rules(SECOND))])?;
    let revision = wait_declared(&second, revision)?;
    assert_verified(&workload, SECOND, before_second)?;
    ensure!(wait_in_force(&hub, revision - 1)? == revision);
    let shown = hosts(&workload)?;
    ensure!(shown.contains(SECOND) && !shown.contains(FIRST), "{shown}");
    run_static(&hub, &workload, SECOND)?;

    stop_and_continue(&hub, &workload, &second, revision)?;

    hub.step("removal from the workload cluster");
    let annotate =
        "kubectl annotate secret edge-1 --namespace clusters image-swap.io/fleet=removed";
    hub.shell(annotate)?;
    wait_status(&hub, "removed", |status| reason(status, "Applied") == "Removed")?;
    let changes = NodeFiles::of(&workload.node)?.changes(&before);
    ensure!(changes.is_empty(), "{changes:?}");
    let registered =
        "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/image-swap-admission";
    let registered = workload.control_plane.get(registered)?;
    ensure!(registered.is_none(), "{registered:?}");
    assert_air_gap(&hub);
    Ok(())
}

/// Enters a cluster into the inventory.
fn import(hub: &HelmCluster, name: &str, plane: &ControlPlane) -> Result<()> {
    hub.step(&format!("importing {name}"));
    hub.write(&format!("{name}.yaml"), &WorkloadPlane::kubeconfig_of(plane)?)?;
    hub.shell(&format!(
        "kubectl create secret generic {name} --namespace clusters \
         --from-file=kubeconfig={name}.yaml && \
         kubectl label secret {name} --namespace clusters image-swap.io/fleet-cluster=enabled",
    ))?;
    Ok(())
}

/// Declares a path that the registry has not, which stops the rollout at the canary, and then
/// another one. `revision` is the number of the present declaration.
fn stop_and_continue(
    hub: &HelmCluster,
    workload: &WorkloadPlane,
    second: &ControlPlane,
    revision: u64,
) -> Result<()> {
    hub.step("a declaration that the canary cannot pull by");
    let before = registry_info(second)?;
    declare(hub, &[("MIRROR_REGISTRIES", &rules("airgap-images/missing"))])?;
    wait_status_of(hub, "edge-2", "stopped", |status| {
        let message = condition(status, "Applied")["message"].to_string();
        reason(status, "Applied") == "WaitingForWave" && message.contains("stopped")
    })?;
    let printed = hub.shell("image-swap fleet status --all-namespaces || test $? = 1")?;
    for word in ["WaitingForWave", "stopped: clusters/edge-1", "the trial pull of the declaration"]
    {
        ensure!(printed.contains(word), "expected {word} in {printed}");
    }
    ensure!(registry_info(second)? == before, "the declaration reached the second cluster");
    until("the former mirrors of the node", DEADLINE, || {
        let shown = hosts(workload).map_err(|error| Wait::NotYet(error.to_string()))?;
        if shown.contains(SECOND) { Ok(()) } else { Err(Wait::NotYet(shown)) }
    })?;

    hub.step("a declaration that continues the rollout");
    let before = mirrored(workload)?;
    declare(hub, &[])?;
    let next = wait_declared(second, revision)?;
    assert_verified(workload, FIRST, before)?;
    ensure!(next == revision + 2, "{next} follows {revision}");
    ensure!(wait_in_force(hub, revision)? == next);
    Ok(())
}

/// Returns the Secret with the declaration of a cluster; null without one.
fn registry_info(plane: &ControlPlane) -> Result<Value> {
    let path = "/api/v1/namespaces/jet-system/secrets/registry-info";
    Ok(plane.get(path)?.unwrap_or_default())
}

/// Waits until a cluster has a declaration with a number above `after`, and returns the number.
fn wait_declared(plane: &ControlPlane, after: u64) -> Result<u64> {
    Ok(until("the declaration of the second cluster", DEADLINE, || {
        let found = registry_info(plane).map_err(|error| Wait::NotYet(error.to_string()))?;
        let number = &found["metadata"]["annotations"]["image-swap.io/revision"];
        let number = number.as_str().and_then(|it| it.parse().ok()).filter(|it| *it > after);
        number.ok_or_else(|| Wait::NotYet(found["metadata"].to_string()))
    })?)
}

/// Returns the number of the declaration in force on the node, which its cluster assigned.
fn mirrored(workload: &WorkloadPlane) -> Result<u64> {
    mirror(workload)?["appliedRevision"].as_u64().context("expected a number")
}

/// Returns the status of the node's report.
fn mirror(workload: &WorkloadPlane) -> Result<Value> {
    let path = format!("/apis/image-swap.io/v1alpha1/nodemirrors/{}", workload.node.name());
    let found = workload.control_plane.get(&path)?.context("expected the report of the node")?;
    Ok(found["status"].clone())
}

/// Checks that the node of the canary has the mirrors in `folder`, by a declaration after
/// `before`, and a verified pull.
fn assert_verified(workload: &WorkloadPlane, folder: &str, before: u64) -> Result<()> {
    let status = mirror(workload)?;
    ensure!(mirrored(workload)? > before && hosts(workload)?.contains(folder), "{status}");
    for kind in ["Applied", "Verified"] {
        ensure!(condition(&status, kind)["status"] == "True", "{kind}: {status}");
    }
    ensure!(reason(&status, "Verified") == "Pulled", "{status}");
    Ok(())
}

/// Returns the mirrors of `docker.io` on the node.
fn hosts(workload: &WorkloadPlane) -> Result<String> {
    Ok(String::from_utf8(workload.node.inside("cat").arg(DOCKER).output()?.stdout)?)
}

/// Waits until a declaration with a number above `after` is in force on the workload cluster with
/// its node, and its API server has reached the webhook. Returns the number.
fn wait_in_force(hub: &HelmCluster, after: u64) -> Result<u64> {
    let status = wait_status(hub, "in force", |status| {
        let number = |field: &str| status[field].as_u64();
        let is_true = |kind: &str| condition(status, kind)["status"] == "True";
        number("appliedRevision").is_some_and(|it| it > after)
            && number("appliedRevision") == number("wantedRevision")
            && is_true("Applied")
            && is_true("Healthy")
            && status["nodeSummary"] == "1/1"
            && status["webhook"] == "Fail"
    })?;
    status["appliedRevision"].as_u64().context("expected a number")
}

/// Waits until the report about the workload cluster `is_wanted`, and returns its status.
fn wait_status(hub: &HelmCluster, what: &str, is_wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    wait_status_of(hub, "edge-1", what, is_wanted)
}

fn wait_status_of(
    hub: &HelmCluster,
    cluster: &str,
    what: &str,
    is_wanted: impl Fn(&Value) -> bool,
) -> Result<Value> {
    let path = format!(
        "/apis/image-swap.io/v1alpha1/namespaces/clusters/workloadclusters/{cluster}.kubeconfig"
    );
    Ok(until(&format!("{cluster} to be {what}"), DEADLINE, || {
        let found = hub.control_plane.get(&path)?.unwrap_or_default();
        let status = found["status"].clone();
        if is_wanted(&status) { Ok(status) } else { Err(Wait::NotYet(status.to_string())) }
    })?)
}

/// Returns the condition of the type `kind`.
fn condition(status: &Value, kind: &str) -> Value {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().find(|it| it["type"] == kind).cloned().unwrap_or_default()
}

/// Returns the reason of the condition of the type `kind`.
fn reason(status: &Value, kind: &str) -> String {
    condition(status, kind)["reason"].as_str().unwrap_or_default().to_owned()
}

/// Runs a pod of the workload cluster, whose webhook swaps its image.
fn run_swapped(hub: &HelmCluster, workload: &WorkloadPlane) -> Result<()> {
    hub.step("a new pod of the workload cluster is swapped, and pulled from the registry");
    workload.control_plane.create("/api/v1/namespaces/default/pods", &pod("web", "nginx:1.25"))?;
    let stored = workload.wait_pod("default", "web")?;
    ensure!(image(&stored) == NGINX, "{}", image(&stored));
    Ok(())
}

/// Runs a static pod of the workload cluster, which no webhook reaches, and checks that its node
/// pulls it from `folder` of the registry.
fn run_static(hub: &HelmCluster, workload: &WorkloadPlane, folder: &str) -> Result<()> {
    hub.step(&format!("a static pod of the workload cluster is pulled from {folder}"));
    let node = &workload.node;
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": EXEMPT, "labels": { "k8s.twr.io/imageswap": "disabled" } },
    });
    if workload.control_plane.get(&format!("/api/v1/namespaces/{EXEMPT}"))?.is_none() {
        workload.control_plane.create("/api/v1/namespaces", &namespace)?;
    }
    let before = hub.registry.requests()?.len();
    write_static(node)?;
    let name = format!("static-{}", node.name());
    workload.wait_pod(EXEMPT, &name)?;
    assert_pulled(hub, node, &[folder], before)?;
    std::fs::remove_file(node.static_pods().join("static.json"))?;
    until("the static pod to end", DEADLINE, || {
        let path = format!("/api/v1/namespaces/{EXEMPT}/pods/{name}");
        match workload.control_plane.get(&path)? {
            None => Ok(()),
            Some(pod) => Err(Wait::NotYet(pod["status"].to_string())),
        }
    })?;
    Ok(())
}
