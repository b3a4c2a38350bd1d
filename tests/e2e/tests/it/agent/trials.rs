//! Wrong declarations.

use anyhow::{Context, Result, ensure};
use image_swap_testbed::{Authority, Node};

use super::{
    DOCKER, FIRST, OLD, declare, files, install_with, pull, rules, start, wait_mirrors,
    wait_no_problem, wait_problem,
};
use crate::{assert_air_gap, current::robot};

/// Two nodes have the same containerd, so one of them is on trial for both.
// guarantee: 3c, 7
#[test]
#[ignore = "needs two nodes: cargo xtask test"]
fn wrong_declarations_reach_only_the_nodes_on_trial() -> Result<()> {
    let cluster = start(&[None, OLD], Some(robot("first")))?;
    install_with(&cluster, "first")?;
    pull(&cluster, FIRST)?;
    let before = files(&cluster)?;
    ensure!(before.iter().all(|files| files.text(DOCKER).is_some()), "{before:?}");

    let other = Authority::new("another company")?;
    let missing = rules("airgap-images/missing");
    let wrong = [
        ("a wrong path", ("MIRROR_REGISTRIES", missing.as_str()), &["not found"][..]),
        ("a wrong authority", ("CA_CERT", other.certificate()), &["certificate"]),
        (
            "a wrong password",
            ("PASSWORD", "wrong"),
            &["unauthorized", "authorization", "credential"],
        ),
    ];
    let current: Vec<&str> = cluster.nodes().take(2).map(Node::name).collect();
    let on_trial = current.iter().min().context("expected a node")?;
    let kept = usize::from(current.first() == Some(on_trial));
    for (step, value, reasons) in wrong {
        cluster.step(step);
        let right = [("USERNAME", "robot"), ("PASSWORD", "first")];
        declare(&cluster, &[&right[..], &[value]].concat())?;
        let printed = wait_problem(&cluster, "node-trial-failed")?;
        let found = printed.to_lowercase();
        ensure!(reasons.iter().any(|reason| found.contains(reason)), "{step}: {printed}");

        cluster.step("every node has the former declaration, and pulls");
        wait_mirrors(&cluster, &before)?;
        let writes = files(&cluster)?[kept].writes(&before[kept]);
        ensure!(writes.is_empty(), "{step}: {} was changed: {writes:?}", current[kept]);
        pull(&cluster, FIRST)?;

        cluster.step("the right declaration again");
        declare(&cluster, &right)?;
        wait_no_problem(&cluster, "node-trial-failed")?;
        let writes = files(&cluster)?[kept].writes(&before[kept]);
        ensure!(writes.is_empty(), "{} was changed: {writes:?}", current[kept]);
    }
    assert_air_gap(&cluster);
    Ok(())
}
