//! Documents show what their commands print on a cluster.

use std::{fs, os::unix::fs::symlink};

use anyhow::{Context, Result};
use image_swap_e2e::{DEADLINE, HelmCluster, PALETTE_VALUES, root};
use image_swap_testbed::{Wait, until};
use image_swap_testkit::{commands, documents};

use crate::publish_nginx;

/// Runs the commands for clusters in the order of the documents: README installs the chart.
#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn documented_commands_work_on_a_cluster() -> Result<()> {
    let cluster = HelmCluster::start()?;
    publish_nginx(&cluster)?;
    declare_authority(&cluster)?;
    let mut count = 0;
    for (file, text) in documents(&root())? {
        for command in commands(&text, "cluster") {
            let place = format!("{}:{}", file.display(), command.line);
            cluster.step(&format!("{place}: {}", command.text));
            let line = format!("exec 2>&1\n{}", command.text);
            // The controller sets the failure policy as soon as the API server reached a replica.
            let printed = if command.text.trim() == "image-swap status" {
                let run = || cluster.shell(&line).map_err(|error| Wait::NotYet(error.to_string()));
                until("a healthy release", DEADLINE, run)?
            } else {
                cluster.shell(&line).with_context(|| place.clone())?
            };
            assert_eq!(command.difference(&printed), None, "{place}\n{printed}");
            count += 1;
        }
    }
    assert!(count >= 10, "{count} commands are marked for a cluster");
    Ok(())
}

/// Writes the examples that the commands name. The registry's certificate is signed by no public
/// authority: the values declare its authority, and the node's declaration does already.
fn declare_authority(cluster: &HelmCluster) -> Result<()> {
    let declared = fs::read_to_string(cluster.node.etc_containerd().join("registry-secret.yaml"))?;
    let (_, rest) = declared.split_once("CA_CERT: |\n").context("expected a CA_CERT")?;
    let lines = rest.lines().take_while(|line| line.starts_with("    "));
    let pem: String = lines.map(|line| format!("  {line}\n")).collect();
    let values = PALETTE_VALUES.replace("caCert: \"\"\n", &format!("caCert: |\n{pem}"));
    fs::create_dir(cluster.folder().join("examples"))?;
    for (name, content) in [("values.yaml", &values), ("registry-secret.yaml", &declared)] {
        let file = cluster.write(&format!("examples/{name}"), content)?;
        symlink(file, cluster.folder().join(name))?;
    }
    Ok(())
}
