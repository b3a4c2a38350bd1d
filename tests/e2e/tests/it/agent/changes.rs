//! A changed declaration, and another password.

use anyhow::Result;

use super::{FIRST, OLD, SECOND, declare, install, install_with, pull, rules, start};
use crate::{assert_air_gap, current::robot};

// guarantee: 1a
#[test]
#[ignore = "needs two nodes: cargo xtask test"]
fn changed_secret_reaches_the_next_pull() -> Result<()> {
    let cluster = start(&[OLD], None)?;
    let number = install(&cluster)?;
    pull(&cluster, FIRST)?;

    cluster.step("the Secret names another folder");
    declare(&cluster, &[("MIRROR_REGISTRIES", &rules(SECOND))])?;
    let next = cluster.wait_in_force(number)?;
    pull(&cluster, SECOND)?;

    cluster.step("the Secret is as before");
    declare(&cluster, &[])?;
    cluster.wait_in_force(next)?;
    pull(&cluster, FIRST)?;
    assert_air_gap(&cluster);
    Ok(())
}

// guarantee: 1a
#[test]
#[ignore = "needs two nodes: cargo xtask test"]
fn rotated_password_reaches_the_next_pull() -> Result<()> {
    let mut cluster = start(&[OLD], Some(robot("first")))?;
    let number = install_with(&cluster, "first")?;
    pull(&cluster, FIRST)?;

    cluster.step("another password");
    cluster.registry.set_credentials(&robot("second"))?;
    declare(&cluster, &[("USERNAME", "robot"), ("PASSWORD", "second")])?;
    cluster.wait_in_force(number)?;
    pull(&cluster, FIRST)?;
    assert_air_gap(&cluster);
    Ok(())
}
