//! The page, end to end, on one cluster: steps in an order, each of which leaves
//! the cluster as the next one expects it. Where a part is missing, CI fails and
//! any other machine is told what was skipped.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod air_gap;
mod cold;
mod image;
mod imageswap;
mod nobody;
mod people;
mod secret_alone;
mod stream;
mod unhooked;
mod upgrade;

use anyhow::Result;
use image_swap_e2e::Stage;
use serde_json::Value;

/// What the page's rules make of `nginx:1.25`.
const NGINX: &str = "harbor.example.org/airgap-images/docker.io/library/nginx:1.25";

/// What of a release stays: the namespace of the page's Secret.
const STAYS: [&str; 2] = ["namespaces /jet-system", " jet-system/"];

#[test]
fn the_page_works_as_printed_in_both_tabs_and_over_imageswap() -> Result<()> {
    let Some(mut stage) = Stage::start()? else { return Ok(()) };
    let digest = stage.publish("docker.io/library/nginx", "1.25", "nginx", &["sleep", "inf"])?;
    for namespace in [
        secret_alone::NAMESPACE,
        imageswap::NAMESPACE,
        stream::NAMESPACE,
        nobody::NAMESPACE,
        nobody::REGISTRY,
        cold::NAMESPACE,
    ] {
        stage.control_plane.create_namespace(namespace)?;
    }
    image::finds_names_by_its_hosts_file_and_by_dns(&stage)?;
    let before = stage.objects()?;

    air_gap::install(&stage, &digest)?;
    upgrade::in_place(&stage)?;
    upgrade::to_what_cannot_be_pulled(&stage)?;
    nobody::is_left(&stage)?;
    cold::start(&mut stage)?;
    air_gap::uninstall(&stage)?;
    stage.wait_nothing_left(&before, &STAYS)?;

    secret_alone::install(&stage, &digest)?;
    secret_alone::uninstall(&stage)?;
    stage.wait_nothing_left(&before, &STAYS)?;

    imageswap::is_there_and_lives(&stage)?;
    imageswap::is_replaced_by_the_page_s_command(&stage)?;
    unhooked::delete(&stage)?;
    stage.wait_nothing_left(&before, &STAYS)?;

    stage.step("nobody was called for by the name of a public registry");
    assert!(stage.public.calls().is_empty(), "{:?}", stage.public.calls());
    Ok(())
}

/// Runs a pod of `nginx:1.25`, and holds what is stored and what runs against
/// what the registry has.
fn runs_swapped(stage: &Stage, digest: &str) -> Result<()> {
    stage.step("a new pod is stored with the registry's image; the node pulls and runs it");
    let asked = stage.registry.requests()?.len();
    stage.kubectl(&["run", "web", "--image=nginx:1.25", "--image-pull-policy=Always"])?;
    let pod = stage.wait_pod("default", "web")?;
    assert_eq!(image(&pod), NGINX);
    let running = &pod["status"]["containerStatuses"][0];
    assert!(running["imageID"].to_string().contains(digest), "{running}");
    let path = "/v2/airgap-images/docker.io/library/nginx/manifests/1.25";
    let asked: Vec<_> = stage.registry.requests()?.split_off(asked);
    let pulled = |agent: &str, asked: &str| agent.starts_with("containerd/") && asked == path;
    assert!(asked.iter().any(|request| pulled(&request.agent, &request.path)), "{asked:?}");
    stage.kubectl(&["delete", "pod", "web", "--grace-period=0", "--force"])?;
    Ok(())
}

/// The image of a pod's first container.
fn image(pod: &Value) -> &str {
    pod["spec"]["containers"][0]["image"].as_str().unwrap()
}
