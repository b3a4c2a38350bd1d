//! Documents show what their commands print on a cluster.

use std::os::unix::fs::symlink;

use anyhow::{Context, Result};
use image_swap_e2e::{HelmCluster, root};
use image_swap_testkit::{commands, documents};

use crate::publish_nginx;

/// Runs the commands for clusters in the order of the documents: README installs the chart.
#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn documented_commands_work_on_a_cluster() -> Result<()> {
    let cluster = HelmCluster::start()?;
    publish_nginx(&cluster)?;
    let examples = root().canonicalize()?.join("examples");
    for (name, file) in [
        ("examples", ""),
        ("values.yaml", "values.yaml"),
        ("registry-secret.yaml", "registry-secret.yaml"),
    ] {
        symlink(examples.join(file), cluster.folder().join(name))?;
    }
    let mut count = 0;
    for (file, text) in documents(&root())? {
        for command in commands(&text, "cluster") {
            let place = format!("{}:{}", file.display(), command.line);
            cluster.step(&format!("{place}: {}", command.text));
            let printed = cluster.shell(&format!("exec 2>&1\n{}", command.text));
            let printed = printed.with_context(|| place.clone())?;
            assert_eq!(command.difference(&printed), None, "{place}\n{printed}");
            count += 1;
        }
    }
    assert!(count >= 10, "{count} commands are marked for a cluster");
    Ok(())
}
