//! Features of current Kubernetes versions, through the real kubelet and API server.

mod audit;
mod credentials;
mod endpoints;
mod first_contact;
mod pods;
mod policies;

use anyhow::Result;
use image_swap_e2e::{HelmCluster, HelmClusterOptions, Install, PALETTE_VALUES};
use image_swap_testbed::Credentials;

use crate::{NGINX, publish_nginx};

/// The image that Palette's rules give for `redis:7`.
const REDIS: &str = "harbor.example.org/airgap-images/docker.io/library/redis:7";

/// Starts a cluster whose registry wants a password, and installs Palette's release with
/// it.
fn start_with_credentials() -> Result<HelmCluster> {
    let credentials = Some(robot("first"));
    let cluster = HelmCluster::start_with(HelmClusterOptions {
        credentials,
        ..HelmClusterOptions::default()
    })?;
    publish_nginx(&cluster)?;
    let values = "config: {ociImageRegistry: {username: robot, password: first}}";
    cluster.install(&Install::with(&[PALETTE_VALUES, values]))?;
    cluster.wait_swapped("nginx:1.25", NGINX)?;
    Ok(cluster)
}

/// Returns the registry's user with a password.
pub(crate) fn robot(password: &str) -> Credentials {
    Credentials { username: "robot".to_owned(), password: password.to_owned() }
}

/// Pushes the image [`REDIS`], which sleeps.
fn publish_redis(cluster: &HelmCluster) -> Result<()> {
    cluster.publish("docker.io/library/redis", "7", "redis", &["sleep", "inf"]).map(drop)
}
