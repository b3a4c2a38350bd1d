//! The chart from end to end. Each test has a cluster and a release of its own.
//!
//! `release` is the short set, which holds on every supported Kubernetes version.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod agent;
mod cold_start;
mod current;
mod documents;
mod fleet;
mod image;
mod imageswap;
mod namespace;
mod no_replica;
mod release;
mod stream;
mod without_hook;
mod workloads;

use anyhow::Result;
use image_swap_e2e::HelmCluster;
use serde_json::Value;

/// The image that Palette's rules give for `nginx:1.25`.
const NGINX: &str = "harbor.example.org/airgap-images/docker.io/library/nginx:1.25";

/// Objects that outlive a release by design: the namespaces of Palette's Secret and of the
/// agents, and the reports of nodes with their definition.
const STAYS: [&str; 12] = [
    "namespaces /jet-system",
    " jet-system/",
    "namespaces /image-swap-agent",
    "namespaces /image-swap-trial",
    "namespaces /gateway-image-swap-agent",
    "namespaces /gateway-image-swap-trial",
    "image-swap-agent/kube-root-ca.crt",
    "image-swap-agent/default",
    "image-swap-trial/kube-root-ca.crt",
    "image-swap-trial/default",
    "nodemirrors.image-swap.io",
    "apiservices.apiregistration.k8s.io /v1alpha1.image-swap.io",
];

/// Pushes the image [`NGINX`], which sleeps, and returns its digest.
fn publish_nginx(cluster: &HelmCluster) -> Result<String> {
    cluster.publish("docker.io/library/nginx", "1.25", "nginx", &["sleep", "inf"])
}

/// Runs a pod of `nginx:1.25`, and checks that it is stored, pulled and run with the
/// company's image.
fn runs_swapped(cluster: &HelmCluster, digest: &str) -> Result<()> {
    cluster.step("a new pod is stored with the company's image; the node pulls and runs it");
    let before = cluster.registry.requests()?.len();
    cluster.kubectl(&["run", "web", "--image=nginx:1.25", "--image-pull-policy=Always"])?;
    let pod = cluster.wait_pod("default", "web")?;
    assert_eq!(image(&pod), NGINX);
    let running = &pod["status"]["containerStatuses"][0];
    assert!(running["imageID"].to_string().contains(digest), "{running}");
    let path = "/v2/airgap-images/docker.io/library/nginx/manifests/1.25";
    let requests = cluster.registry.requests()?.split_off(before);
    let is_pull = |agent: &str, found: &str| agent.starts_with("containerd/") && found == path;
    assert!(requests.iter().any(|it| is_pull(&it.agent, &it.path)), "{requests:?}");
    cluster.kubectl(&["delete", "pod", "web", "--grace-period=0", "--force"])?;
    Ok(())
}

/// Checks that no public registry was connected to.
fn assert_air_gap(cluster: &HelmCluster) {
    assert!(cluster.public.calls().is_empty(), "{:?}", cluster.public.calls());
}

/// Returns the image of a pod's first container.
fn image(pod: &Value) -> &str {
    pod["spec"]["containers"][0]["image"].as_str().unwrap()
}
