//! The namespace of the release is deleted, with everything in it.

use anyhow::Result;
use image_swap_e2e::{DEADLINE, HelmCluster, Install, PALETTE_VALUES};
use image_swap_testbed::{Wait, until};

use crate::NGINX;

// guarantee: 4d
#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn pods_start_after_the_release_namespace_is_deleted() -> Result<()> {
    let cluster = HelmCluster::start()?;
    let own = Install { namespace: "swap", values: &[PALETTE_VALUES], ..Install::default() };
    cluster.install(&own)?;
    cluster.wait_swapped("nginx:1.25", NGINX)?;

    cluster.step("kubectl delete namespace");
    cluster.kubectl(&["delete", "namespace", "swap", "--wait=false"])?;
    cluster.wait_swapped("nginx:1.25", "nginx:1.25")?;
    until("the registration and its owner to go", DEADLINE, || {
        let of_the_release = ["get", "mutatingwebhookconfigurations,clusterroles", "--output=name"];
        let names =
            cluster.kubectl(&of_the_release).map_err(|error| Wait::NotYet(error.to_string()))?;
        // The rights of the agents stay: their namespace is another one.
        let is_left = |name: &str| name.ends_with("/image-swap") || name.ends_with("-admission");
        if names.lines().any(is_left) { Err(Wait::NotYet(names)) } else { Ok(()) }
    })?;
    Ok(())
}
