//! The last steps of Palette's documentation, as they are printed.

use anyhow::{Result, ensure};
use image_swap_e2e::{HelmCluster, Install, NodeFiles};
use image_swap_testbed::Node;

use super::{DOCKER, EXEMPT, FIRST, OLD, assert_pulled, pull, secret, start, write_static};
use crate::{assert_air_gap, publish_nginx};

// guarantee: 1a
#[test]
#[ignore = "needs two nodes: cargo xtask test"]
fn palette_commands_configure_every_node() -> Result<()> {
    let cluster = start(&[OLD], None)?;
    publish_nginx(&cluster)?;
    let before = super::files(&cluster)?;
    ensure!(before.iter().all(|files| *files == NodeFiles::default()), "{before:?}");

    cluster.step("helm upgrade --values values.yaml image-swap image-swap-*.tgz --install");
    cluster.follow_palette()?;
    cluster.wait_ready(&Install::default())?;
    let by_values = cluster.wait_declared(&Install::default())?;
    cluster.step("kubectl create --filename registry-secret.yaml");
    cluster.write("registry-secret.yaml", &secret(&cluster, &[])?)?;
    let printed = cluster.shell("kubectl create --filename registry-secret.yaml")?;
    assert_eq!(printed, "secret/registry-info created\n");

    cluster.wait_in_force(by_values)?;
    for node in cluster.nodes() {
        let mut cat = node.inside("cat");
        let shown = String::from_utf8(cat.arg(DOCKER).output()?.stdout)?;
        let mirror = format!("https://harbor.example.org/v2/{FIRST}");
        ensure!(shown.contains(&mirror), "{}: {shown}", node.name());
    }
    pull(&cluster, FIRST)?;
    cluster.nodes().try_for_each(|node| run_static(&cluster, node))?;
    let printed = cluster.kubectl(&["get", "nodemirrors"])?;
    for node in cluster.nodes() {
        let line = printed.lines().find(|line| line.starts_with(node.name()));
        ensure!(line.is_some_and(|line| line.contains("True")), "{printed}");
    }
    assert_air_gap(&cluster);
    Ok(())
}

/// Runs a static pod, which no webhook and no pull Secret reaches.
fn run_static(cluster: &HelmCluster, node: &Node) -> Result<()> {
    cluster.step(&format!("a static pod of {}", node.name()));
    let before = cluster.registry.requests()?.len();
    write_static(node)?;
    cluster.wait_pod(EXEMPT, &format!("static-{}", node.name()))?;
    assert_pulled(cluster, node, &[FIRST], before)
}
