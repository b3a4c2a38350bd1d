//! Pods that are not swapped until the nodes trust the registry.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, ensure};
use image_swap_e2e::{DEADLINE, HelmCluster, Install, PALETTE_VALUES, pod};
use image_swap_testbed::{Authority, HelmWait, Node, Wait, until};
use serde_json::{Value, json};

use super::{
    AGENTS, FIRST, OLD, SECOND, VALUES, declare, kill_agent, pull, pull_on, rules, start,
    wait_no_problem, wait_problem,
};
use crate::{NGINX, assert_air_gap, image, workloads::items};

/// The problem of pods that wait until an administrator acts.
const WAITING: &str = "pods-wait-for-nodes";
/// The image that [`SECOND`] gives for `nginx:1.25`.
const OTHER: &str = "harbor.example.org/airgap-images/second/library/nginx:1.25";

/// One node keeps its agent from configuring it, so that every wait of pods lasts.
#[test]
#[ignore = "needs two nodes: cargo xtask test"]
fn pods_are_swapped_once_every_node_trusts_registry() -> Result<()> {
    let mut cluster = start(&[OLD], None)?;
    let authority = cluster.registry.authority().context("expected a private authority")?;
    let trust = format!("config: {{ociImageRegistry: {{caCert: {}}}}}", json!(authority));
    let values = [PALETTE_VALUES, VALUES, &trust];
    let release = Install::with(&values);

    cluster.step("the first declaration: pods keep their images");
    let block = block(&cluster.others[0])?;
    cluster.upgrade(&release, HelmWait::Hooks)?;
    cluster.wait_ready(&release)?;
    let printed = wait_problem(&cluster, WAITING)?;
    let blocked = cluster.others[0].name().to_owned();
    for text in ["pods keep their images until all nodes trust declaration", &blocked, "_backup"] {
        ensure!(printed.contains(text), "expected {text:?}: {printed}");
    }
    wait_mode(&cluster, &release, "audit")?;
    cluster.wait_policy(&release, "Ignore")?;
    for node in cluster.nodes() {
        cluster.step(&format!("a pod of {} keeps its image", node.name()));
        let stored = cluster.control_plane.create(DRY_RUN, &pod_on("kept", node))?;
        ensure!(image(&stored) == "nginx:1.25", "{stored}");
    }
    // The other node has the declaration.
    pull_on(&cluster, &cluster.node, &[FIRST])?;

    cluster.step("the last node gets the declaration: pods are swapped");
    fs::remove_dir_all(&block)?;
    let number = cluster.wait_in_force(0)?;
    wait_mode(&cluster, &release, "enforce")?;
    cluster.wait_policy(&release, "Fail")?;
    wait_no_problem(&cluster, WAITING)?;
    run_swapped(&cluster, NGINX)?;
    wait_events(&cluster, &["PodsWaitForNodes", "PodsWaitedForNodes"])?;

    cluster.step("another authority and folder: pods are swapped by the declaration before");
    fs::create_dir_all(&block)?;
    let both = format!("{authority}{}", Authority::new("another company")?.certificate());
    let served = hash(&cluster, &release)?;
    declare(&cluster, &[("CA_CERT", &both), ("MIRROR_REGISTRIES", &rules(SECOND))])?;
    let printed = wait_problem(&cluster, WAITING)?;
    let wanted = hash(&cluster, &release)?;
    ensure!(wanted != served, "{wanted}");
    let message = format!(
        "pods are swapped by declaration {served} until all nodes trust declaration {wanted}"
    );
    for text in [&*message, &blocked, "_backup"] {
        ensure!(printed.contains(text), "expected {text:?}: {printed}");
    }
    // The node that has the new declaration still pulls by the name of the one before.
    pull_on(&cluster, &cluster.node, &[SECOND])?;
    run_swapped(&cluster, NGINX)?;
    ensure!(policy(&cluster, &release)?["mode"] == "enforce", "{printed}");

    cluster.step("the last node gets it too");
    fs::remove_dir_all(&block)?;
    let number = cluster.wait_in_force(number)?;
    wait_no_problem(&cluster, WAITING)?;
    cluster.wait_swapped("nginx:1.25", OTHER)?;
    run_swapped(&cluster, OTHER)?;

    cluster.step("another folder alone is served at once, whatever a node has");
    fs::create_dir_all(&block)?;
    declare(&cluster, &[("CA_CERT", &both)])?;
    cluster.wait_swapped("nginx:1.25", NGINX)?;
    wait_problem(&cluster, "nodes-pending")?;
    ensure!(!cluster.problems(&release)?.iter().any(|it| it == WAITING), "pods wait");
    run_swapped(&cluster, NGINX)?;
    fs::remove_dir_all(&block)?;
    let number = cluster.wait_in_force(number)?;
    pull(&cluster, FIRST)?;

    cluster.step("a new node cannot pull the agent, and the agent of another one stops");
    judge_early(&cluster)?;
    cluster.add_node(OLD)?;
    cluster.others[0].kubelet().kill()?;
    kill_agent(&cluster.others[0])?;
    for node in &cluster.others {
        cluster.wait_reason(node, "Applied", "AgentNotRunning")?;
    }
    let printed = wait_problem(&cluster, "nodes-pending")?;
    ensure!(printed.contains("2 nodes") && !printed.contains("until all nodes"), "{printed}");
    ensure!(policy(&cluster, &release)?["mode"] == "enforce", "{printed}");
    cluster.wait_policy(&release, "Fail")?;
    run_swapped_on(&cluster, &cluster.node, NGINX)?;

    cluster.step("both nodes have an agent");
    cluster.load_program(&cluster.others[1])?;
    let HelmCluster { others, control_plane, .. } = &mut cluster;
    others[0].wait_ready(control_plane)?;
    // New pods start without the kubelet's delay for images that cannot be pulled.
    cluster.kubectl(&["delete", "pods", "--all", "--namespace", AGENTS, "--now"])?;
    ensure!(cluster.wait_in_force(number - 1)? == number, "the declaration is the same");
    run_swapped(&cluster, NGINX)?;
    assert_air_gap(&cluster);
    Ok(())
}

/// Restarts the controller with a short deadline for agents that do not report.
fn judge_early(cluster: &HelmCluster) -> Result<()> {
    let argument = json!([{
        "op": "add", "path": "/spec/template/spec/containers/0/args/-",
        "value": "--agent-deadline=15s",
    }]);
    let controller = ["deployment", "image-swap-controller"];
    let patch = ["--type=json", &format!("--patch={argument}")];
    cluster.kubectl(&[&["patch"], &controller[..], &patch].concat())?;
    cluster.kubectl(&[&["rollout", "status"], &controller[..]].concat())?;
    Ok(())
}

/// The path by which the API server admits a pod and stores nothing.
const DRY_RUN: &str = "/api/v1/namespaces/default/pods?dryRun=All";

/// Makes the directory that shows that spegel manages the mirrors of a node, and returns it. The
/// agent refuses such a host.
fn block(node: &Node) -> Result<PathBuf> {
    let backup = node.etc_containerd().join("certs.d/_backup");
    fs::create_dir_all(&backup)?;
    Ok(backup)
}

/// Returns a pod of `nginx:1.25` for a node.
fn pod_on(name: &str, node: &Node) -> Value {
    let mut pod = pod(name, "nginx:1.25");
    pod["spec"]["nodeName"] = node.name().into();
    pod["spec"]["containers"][0]["imagePullPolicy"] = "Always".into();
    pod
}

/// Runs a pod of `nginx:1.25` on every node, and checks that it is swapped to `wanted`.
fn run_swapped(cluster: &HelmCluster, wanted: &str) -> Result<()> {
    cluster.nodes().try_for_each(|node| run_swapped_on(cluster, node, wanted))
}

/// Does the same on one node.
fn run_swapped_on(cluster: &HelmCluster, node: &Node, wanted: &str) -> Result<()> {
    cluster.step(&format!("{} runs {wanted}", node.name()));
    cluster.control_plane.create("/api/v1/namespaces/default/pods", &pod_on("web", node))?;
    let stored = cluster.wait_pod("default", "web")?;
    ensure!(image(&stored) == wanted, "{stored}");
    cluster.kubectl(&["delete", "pod", "web", "--now"])?;
    Ok(())
}

/// Returns the state of admission in the controller's report.
fn policy(cluster: &HelmCluster, release: &Install<'_>) -> Result<Value> {
    Ok(cluster.status(release)?["policy"].clone())
}

/// Returns the hash of the declaration in the controller's report.
fn hash(cluster: &HelmCluster, release: &Install<'_>) -> Result<String> {
    let hash = cluster.status(release)?["declaration"]["hash"].as_str().map(str::to_owned);
    hash.context("expected the hash of a declaration")
}

/// Waits until the API server reaches replicas of this mode.
fn wait_mode(cluster: &HelmCluster, release: &Install<'_>, mode: &str) -> Result<()> {
    until(&format!("the mode {mode}"), DEADLINE, || {
        let policy =
            policy(cluster, release).map_err(|error| Wait::NotYet(format!("{error:#}")))?;
        let is_wanted = policy["mode"] == mode && policy["probe"] == "reached";
        if is_wanted { Ok(()) } else { Err(Wait::NotYet(policy.to_string())) }
    })?;
    Ok(())
}

/// Waits until there is an Event for each of `reasons`.
fn wait_events(cluster: &HelmCluster, reasons: &[&str]) -> Result<()> {
    until(&format!("the Events {reasons:?}"), DEADLINE, || {
        let events = items(cluster, "/apis/events.k8s.io/v1/namespaces/default/events")?;
        let found: Vec<&str> = events.iter().filter_map(|it| it["reason"].as_str()).collect();
        let all = reasons.iter().all(|reason| found.contains(reason));
        if all { Ok(()) } else { Err(Wait::NotYet(format!("{found:?}"))) }
    })?;
    Ok(())
}
