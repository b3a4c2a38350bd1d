//! All replicas are gone, on a real node.

use anyhow::Result;
use image_swap_e2e::{DEADLINE, Install, Stage};
use image_swap_testbed::{Wait, until};

use crate::{
    NGINX, image,
    people::{items, mirrored, ordinary, wait_refused},
};

/// Where an ordinary Deployment is; it has to be there.
pub(crate) const NAMESPACE: &str = "shop";
/// Where the registry itself may run; it has to be there.
pub(crate) const REGISTRY: &str = "harbor";
const PODS: &str = "/api/v1/namespaces/shop/pods";
const ENDPOINTS: &str = "/api/v1/namespaces/default/endpoints/image-swap-admission";
/// Ends them without taking leave. One may have gone by itself.
const KILL: &str = r"
for process in /proc/[0-9]*; do
    if tr '\0' ' ' < $process/cmdline | grep -q '^/usr/bin/image-swap webhook '; then
        kill -s KILL ${process#/proc/}
    fi
done 2> /dev/null
:";

pub(crate) fn is_left(stage: &Stage) -> Result<()> {
    stage.step("all replicas are gone: an ordinary Deployment's pod waits");
    scale(stage, "0")?;
    until("the Service to have no endpoints", DEADLINE, || {
        let found = stage.control_plane.get(ENDPOINTS)?.unwrap_or_default();
        let none = found["subsets"].as_array().is_none_or(Vec::is_empty);
        if none { Ok(()) } else { Err(Wait::NotYet(found["subsets"].to_string())) }
    })?;
    // Told to stop, they would go on to answer whoever is connected.
    let killed = stage.node.inside("sh").args(["-c", KILL]).status()?;
    assert!(killed.success(), "{killed}");
    ordinary(stage, NAMESPACE, "shop")?;
    wait_refused(stage, NAMESPACE)?;

    stage.step("a system pod starts, and the company's registry, where it runs here");
    stage.kubectl(&["label", "namespace", REGISTRY, "k8s.twr.io/imageswap=disabled"])?;
    for namespace in ["kube-system", REGISTRY] {
        mirrored(stage, namespace, "own")?;
        stage.wait_pod(namespace, "own")?;
        stage.kubectl(&["delete", "--namespace", namespace, "pod", "own"])?;
    }
    assert_eq!(items(stage, PODS)?.len(), 0);

    stage.step("replicas are back: what waited starts by itself");
    scale(stage, "2")?;
    let pod = until("the Deployment's pod", DEADLINE, || {
        items(stage, PODS)?.pop().ok_or_else(|| Wait::NotYet("no pod".into()))
    })?;
    assert_eq!(image(&pod), NGINX);
    stage.wait_pod(NAMESPACE, pod["metadata"]["name"].as_str().unwrap())?;
    stage.kubectl(&["delete", "--namespace=shop", "deployment", "shop"])?;
    stage.wait_ready(&Install::default())?;
    stage.wait_policy(&Install::default(), "Fail")
}

fn scale(stage: &Stage, replicas: &str) -> Result<()> {
    let replicas = format!("--replicas={replicas}");
    stage.kubectl(&["scale", "deployment/image-swap-admission", &replicas])?;
    Ok(())
}
