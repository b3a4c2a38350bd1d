//! A release of the chart, and a pod that it swaps, in a cluster of `cargo xtask cluster`.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};
use image_swap_testbed::{
    Cluster, HelmMajor, HelmWait, Image, Live, Parts, Product, Progress, Wait, is_ready, until,
};
use serde_json::json;

/// The limit for each wait. A pod takes seconds; a busy machine takes longer.
const DEADLINE: Duration = Duration::from_mins(4);
/// The folder of the registry that mirrors are in.
const BASE_PATH: &str = "airgap-images";
/// The image that the pod names, and its path in the registry.
const IMAGE: &str = "nginx:1.25";
const MIRRORED: &str = "docker.io/library/nginx";

/// Commands that show what the release does.
pub(super) const COMMANDS: [&str; 3] = [
    "kubectl get pod web --output jsonpath='{.metadata.annotations}{\"\\n\"}{.spec.containers[0].image}{\"\\n\"}'",
    "kubectl run dry --image=quay.io/prometheus/busybox --dry-run=server --output jsonpath='{.spec.containers[0].image}{\"\\n\"}'",
    "cargo run --quiet -- status",
];

/// Pushes the image under test and a sample image, installs the chart, and waits until
/// a swapped pod runs. `root` is the checkout.
pub(super) fn run(
    cluster: &Cluster,
    parts: &Parts,
    root: &Path,
    progress: Progress<'_>,
) -> Result<()> {
    let Cluster { control_plane, registry, .. } = cluster;
    progress("pushing the images");
    let repository = format!("{BASE_PATH}/image-swap");
    registry.push_product(&repository, env!("CARGO_PKG_VERSION"), &Product::find(root)?)?;
    let command = ["httpd", "-f", "-p", "8080"];
    let sample = Image::busybox(parts.registry()?, "web", &command)?;
    registry.push(&format!("{BASE_PATH}/{MIRRORED}"), "1.25", &sample)?;
    progress("installing the chart");
    let helm = Live::new(parts.helm()?, HelmMajor::Four, control_plane.kubeconfig())?;
    let chart = root.join("charts/image-swap");
    let host = Cluster::REGISTRY;
    let values = json!({ "config": { "ociImageRegistry": {
        "endpoint": host,
        "name": "Company registry",
        "baseContentPath": BASE_PATH,
        "insecureSkipVerify": false,
        "caCert": registry.authority().context("expected a registry with TLS")?,
        "mirrorRegistries": format!(
            "docker.io::{host}/{BASE_PATH}/docker.io,quay.io::{host}/{BASE_PATH}/quay.io"
        ),
    } } });
    helm.upgrade_install("default", "image-swap", &chart, &[&values.to_string()], HelmWait::Ready)?;
    progress(&format!("waiting until a pod of {IMAGE} is swapped"));
    let expected = format!("{host}/{BASE_PATH}/{MIRRORED}:1.25");
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "web" },
        "spec": { "containers": [{ "name": "main", "image": IMAGE }] },
    });
    let pods = "/api/v1/namespaces/default/pods";
    until(&format!("{IMAGE} to become {expected}"), DEADLINE, || {
        let stored = control_plane.create(&format!("{pods}?dryRun=All"), &pod);
        let stored = stored.map_err(|error| Wait::NotYet(error.to_string()))?;
        let image = &stored["spec"]["containers"][0]["image"];
        if *image == expected { Ok(()) } else { Err(Wait::NotYet(image.to_string())) }
    })?;
    control_plane.create(pods, &pod)?;
    progress("waiting until the pod runs");
    until("the pod web to be ready", DEADLINE, || {
        let pod = control_plane.get(&format!("{pods}/web"))?.unwrap_or_default();
        if is_ready(&pod) { Ok(()) } else { Err(Wait::NotYet(pod["status"].to_string())) }
    })?;
    Ok(())
}
