//! Drift, and declarations that nodes never get.

use std::fs;

use anyhow::Result;
use image_swap_e2e::{HelmCluster, NodeFiles};
use image_swap_testbed::Node;

use super::{
    FIRST, OLD, declare, files, install, pull, start, wait_mirrors, wait_no_problem, wait_problem,
};
use crate::assert_air_gap;

// guarantee: 3c
#[test]
#[ignore = "needs two nodes: cargo xtask test"]
fn changed_files_are_repaired() -> Result<()> {
    let cluster = start(&[OLD], None)?;
    install(&cluster)?;
    let before = files(&cluster)?;
    drift(&cluster, &before)?;

    let emptied: Vec<_> =
        ["DOMAIN", "BASE_PATH", "CA_CERT", "MIRROR_REGISTRIES"].map(|key| (key, "")).into();
    let malformed = [("MIRROR_REGISTRIES", "docker.io::::,"), ("DOMAIN", "no domain")];
    for (step, values) in [("an emptied Secret", &emptied[..]), ("a malformed one", &malformed)] {
        cluster.step(step);
        declare(&cluster, &[])?;
        wait_no_problem(&cluster, "declaration-refused")?;
        declare(&cluster, values)?;
        wait_problem(&cluster, "declaration-refused")?;
        // The agents still repair the former declaration.
        drift(&cluster, &before)?;
        pull(&cluster, FIRST)?;
    }
    assert_air_gap(&cluster);
    Ok(())
}

/// Removes a file of one node and edits that of another one, and waits until both are as
/// before.
fn drift(cluster: &HelmCluster, before: &[NodeFiles]) -> Result<()> {
    cluster.step("a removed and an edited hosts.toml come back");
    let hosts = |node: &Node| node.etc_containerd().join("certs.d/docker.io/hosts.toml");
    fs::remove_file(hosts(&cluster.node))?;
    fs::write(hosts(&cluster.others[0]), "server = \"https://edited.example.org\"\n")?;
    wait_mirrors(cluster, before)
}
