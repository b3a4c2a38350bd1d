//! Removal and return of the agents.

use std::fs;

use anyhow::{Result, ensure};
use image_swap_e2e::{
    BASE_PATH, DEADLINE, HARBOR, HelmCluster, Install, NodeFiles, PALETTE_VALUES,
};
use image_swap_testbed::{Node, Wait, until};

use super::{AGENTS, FIRST, OLD, VALUES, files, install, pull, pull_on, start};
use crate::assert_air_gap;

/// The custom resource.
const DEFINITION: &str =
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/nodemirrors.image-swap.io";
/// The line about it in the output of Helm, if it is deleted.
const DELETED: &str = "deleted the customresourcedefinition nodemirrors.image-swap.io";

// guarantee: 5b, 5d
#[test]
#[ignore = "needs two nodes: cargo xtask test"]
fn uninstall_restores_every_node() -> Result<()> {
    let mut cluster = start(&[OLD], None)?;
    // One of them has the name of a declared source.
    for (node, host) in
        cluster.nodes().flat_map(|node| ["company.example.com", "quay.io"].map(|host| (node, host)))
    {
        let foreign = node.etc_containerd().join("certs.d").join(host);
        fs::create_dir_all(&foreign)?;
        fs::write(foreign.join("hosts.toml"), format!("server = \"https://{host}\"\n"))?;
    }
    let before = files(&cluster)?;
    install(&cluster)?;
    pull(&cluster, FIRST)?;

    cluster.step("helm uninstall restores both nodes");
    let printed = helm_uninstall(&cluster)?;
    ensure!(printed.contains("2 nodes restored") && printed.contains(DELETED), "{printed}");
    ensure_defined(&cluster, false)?;
    wait_no_agents(&cluster)?;
    for (node, before) in cluster.nodes().zip(&before) {
        ensure_restored(node.name(), &NodeFiles::of(node)?, before)?;
    }

    cluster.step("helm uninstall while one node is off");
    install_again(&cluster)?;
    let configured = NodeFiles::of(&cluster.others[0])?;
    cluster.others[0].power_off()?;
    let printed = helm_uninstall(&cluster)?;
    let off = format!("{}: not restored: ", cluster.others[0].name());
    let listed: Vec<_> = printed.lines().filter(|line| line.contains(": not restored: ")).collect();
    let is_listed = |line: &&str| line.contains(&off) && line.contains("image-swap node restore");
    ensure!(listed.len() == 1 && listed.iter().all(is_listed), "{printed}");
    ensure!(printed.contains("image-swap render node-restore --image "), "{printed}");
    ensure_defined(&cluster, true)?;
    wait_restored(&cluster.node, &before[0])?;

    cluster.step("the node is on again: it keeps its files and pulls");
    let HelmCluster { others, control_plane, .. } = &mut cluster;
    others[0].wait_ready(control_plane)?;
    wait_no_agents(&cluster)?;
    let changes = NodeFiles::of(&cluster.others[0])?.changes(&configured);
    ensure!(changes.is_empty(), "{changes:?}");
    pull_on(&cluster, &cluster.others[0], &[FIRST])?;

    cluster.step("image-swap render node-restore restores it");
    let image = format!("{HARBOR}/{BASE_PATH}/image-swap:{}", env!("CARGO_PKG_VERSION"));
    cluster
        .shell(&format!("image-swap render node-restore --image {image} | kubectl apply -f -"))?;
    wait_restored(&cluster.others[0], &before[1])?;
    let printed = cluster.kubectl(&["delete", "namespace", "image-swap-restore"])?;
    ensure!(printed.contains("deleted"), "{printed}");

    cluster.step("installing again takes over a node that is configured");
    install_again(&cluster)?;
    cluster.shell("helm uninstall image-swap --namespace default --no-hooks 2>&1")?;
    wait_no_agents(&cluster)?;
    install_again(&cluster)?;
    pull(&cluster, FIRST)?;
    uninstall(&cluster)?;
    ensure_defined(&cluster, false)?;
    for (node, before) in cluster.nodes().zip(&before) {
        ensure_restored(node.name(), &NodeFiles::of(node)?, before)?;
    }
    assert_air_gap(&cluster);
    Ok(())
}

// guarantee: 5d
#[test]
#[ignore = "needs two nodes: cargo xtask test"]
fn stopped_kubelet_holds_up_no_other_node() -> Result<()> {
    let mut cluster = start(&[OLD], None)?;
    let before = files(&cluster)?;
    install(&cluster)?;
    cluster.step("helm uninstall while a kubelet is stopped");
    cluster.others[0].kubelet().kill()?;
    cluster.uninstall(&Install::default())?;
    wait_restored(&cluster.node, &before[0])
}

/// Installs the release again; the Secret is there.
fn install_again(cluster: &HelmCluster) -> Result<()> {
    cluster.install(&Install::with(&[PALETTE_VALUES, VALUES]))?;
    cluster.wait_in_force(0).map(drop)
}

/// Runs `helm uninstall`. Returns its output, with the lines of the Job that waits for nodes.
fn helm_uninstall(cluster: &HelmCluster) -> Result<String> {
    cluster.shell("helm uninstall image-swap --namespace default 2>&1")
}

/// Checks that the custom resource exists, or that it does not.
fn ensure_defined(cluster: &HelmCluster, is_defined: bool) -> Result<()> {
    let found = cluster.control_plane.get(DEFINITION)?.is_some();
    ensure!(found == is_defined, "the custom resource exists: {found}");
    Ok(())
}

/// Uninstalls the release, and waits until every agent has ended.
fn uninstall(cluster: &HelmCluster) -> Result<()> {
    cluster.uninstall(&Install::default())?;
    wait_no_agents(cluster)
}

/// Waits until no pod of an agent is left.
fn wait_no_agents(cluster: &HelmCluster) -> Result<()> {
    let path = format!("/api/v1/namespaces/{AGENTS}/pods");
    until("the end of the agents", DEADLINE, || {
        let pods = cluster.control_plane.get(&path)?.unwrap_or_default();
        let left = pods["items"].as_array().map_or(0, Vec::len);
        if left == 0 { Ok(()) } else { Err(Wait::NotYet(format!("{left} pods"))) }
    })?;
    Ok(())
}

/// Waits until a node is as before the installation.
fn wait_restored(node: &Node, before: &NodeFiles) -> Result<()> {
    until(&format!("{} to be restored", node.name()), DEADLINE, || {
        let now = NodeFiles::of(node).map_err(|error| Wait::NotYet(format!("{error:#}")))?;
        ensure_restored(node.name(), &now, before).map_err(|error| Wait::NotYet(error.to_string()))
    })?;
    Ok(())
}

/// Checks that the files of a node are as before, and that no state is left.
fn ensure_restored(name: &str, now: &NodeFiles, before: &NodeFiles) -> Result<()> {
    let changes = now.changes(before);
    ensure!(changes.is_empty() && now.state().is_empty(), "{name}: {changes:?}");
    Ok(())
}
