//! Agents that are killed, and an API server that is away.

use std::time::Instant;

use anyhow::{Result, ensure};
use image_swap_e2e::{DEADLINE, HelmCluster, NodeFiles};
use image_swap_testbed::{Logged, Node, Wait, until};
use serde_json::Value;

use super::{
    AGENTS, FIRST, OLD, SECOND, agents, declare, files, install, kill_agent, pull, pull_on, rules,
    start, write_static,
};
use crate::assert_air_gap;

/// The number of changes during which the agents are killed.
const KILLS: usize = 6;

// guarantee: 4h, 7
#[test]
#[ignore = "needs two nodes: cargo xtask test"]
fn killed_agent_leaves_a_node_that_pulls() -> Result<()> {
    let cluster = start(&[OLD], None)?;
    let mut number = install(&cluster)?;
    for round in 0..KILLS {
        cluster.step(&format!("kill {} of {KILLS}", round + 1));
        let folder = if round % 2 == 0 { SECOND } else { FIRST };
        let before = files(&cluster)?;
        declare(&cluster, &[("MIRROR_REGISTRIES", &rules(folder))])?;
        // Agents write to the first directory that differs, and are killed at once.
        for (node, before) in cluster.nodes().zip(&before) {
            await_write(node, before)?;
            kill_agent(node)?;
        }
        // The kubelet starts the agent again, which may have gone on by now.
        cluster.nodes().try_for_each(|node| pull_on(&cluster, node, &[FIRST, SECOND]))?;
        // A new pod starts without the kubelet's delay for containers that fail.
        cluster.kubectl(&["delete", "pods", "--all", "--namespace", AGENTS, "--now"])?;
        number = cluster.wait_in_force(number)?;
        pull(&cluster, folder)?;
    }
    assert_air_gap(&cluster);
    Ok(())
}

/// Waits, without a pause, until a file of the node is changed.
fn await_write(node: &Node, before: &NodeFiles) -> Result<()> {
    let start = Instant::now();
    while NodeFiles::of(node)?.writes(before).is_empty() {
        ensure!(start.elapsed() < DEADLINE, "no write on {}", node.name());
    }
    Ok(())
}

// guarantee: 4h
#[test]
#[ignore = "needs two nodes: cargo xtask test"]
fn agent_without_api_server_changes_nothing() -> Result<()> {
    let mut cluster = start(&[OLD], None)?;
    let number = install(&cluster)?;
    ensure!(agents(&cluster)?.len() == 2, "an agent for each node");
    let before = files(&cluster)?;

    cluster.step("the agents start again while the API server is away");
    cluster.control_plane.api_server().stop()?;
    for node in cluster.nodes() {
        ensure!(kill_agent(node)?, "an agent runs on {}", node.name());
    }
    cluster.nodes().try_for_each(wait_restarted)?;
    for (now, before) in files(&cluster)?.iter().zip(&before) {
        let writes = now.writes(before);
        ensure!(writes.is_empty(), "{writes:?}");
    }

    cluster.step("a node reboots meanwhile");
    cluster.node.power_off()?;
    cluster.node.power_on()?;
    let requests = cluster.registry.requests()?.len();
    write_static(&cluster.node)?;
    wait_static(&cluster, requests)?;

    cluster.step("the API server is back");
    cluster.control_plane.wait_ready()?;
    let HelmCluster { node, control_plane, .. } = &mut cluster;
    node.wait_ready(control_plane)?;
    pull(&cluster, FIRST)?;
    declare(&cluster, &[("MIRROR_REGISTRIES", &rules(SECOND))])?;
    cluster.wait_in_force(number)?;
    pull(&cluster, SECOND)?;
    assert_air_gap(&cluster);
    Ok(())
}

/// Waits until the static pod of the first node runs, pulled from the mirror after the first
/// `before` requests. Without an API server only its containerd shows that.
fn wait_static(cluster: &HelmCluster, before: usize) -> Result<()> {
    until("the static pod", DEADLINE, || {
        let output =
            cluster.node.crictl().args(["ps", "--state=Running", "--output=json"]).output();
        let output = output.map_err(|error| Wait::NotYet(error.to_string()))?;
        let listed: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let pods = listed["containers"].as_array().into_iter().flatten();
        let mut names = pods.map(|it| &it["labels"]["io.kubernetes.pod.name"]);
        let name = format!("static-{}", cluster.node.name());
        if names.any(|it| *it == *name) { Ok(()) } else { Err(Wait::NotYet(listed.to_string())) }
    })?;
    let path = format!("/v2/{FIRST}/library/nginx/manifests/1.25");
    let requests = cluster.registry.requests()?.split_off(before);
    let is_pull = |it: &Logged| it.status == 200 && it.path.split('?').next() == Some(&path);
    ensure!(requests.iter().any(is_pull), "{requests:?}");
    Ok(())
}

/// Waits until the agent of a node has started again, and has logged a failed request.
fn wait_restarted(node: &Node) -> Result<()> {
    let crictl = |arguments: &[&str]| -> Result<String, Wait> {
        let output = node.crictl().args(arguments).output();
        let output = output.map_err(|error| Wait::NotYet(error.to_string()))?;
        Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    until(&format!("the agent of {}", node.name()), DEADLINE, || {
        let id = crictl(&["ps", "--name=^agent$", "--state=Running", "--quiet"])?;
        let Some(id) = id.lines().next() else { return Err(Wait::NotYet("not running".into())) };
        let log = crictl(&["logs", id])?;
        if log.contains("cannot watch") { Ok(()) } else { Err(Wait::NotYet(log)) }
    })?;
    Ok(())
}
