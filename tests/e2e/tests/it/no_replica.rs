//! No replica of the webhook runs, on a real node.

use anyhow::Result;
use image_swap_e2e::{DEADLINE, Install, Stage};
use image_swap_testbed::{Wait, until};
use serde_json::json;

use crate::{
    NGINX, assert_air_gap, image, publish_nginx,
    workloads::{deploy, items, run_mirrored, wait_refused},
};

const NAMESPACE: &str = "shop";
/// The namespace of a registry in the cluster.
const REGISTRY: &str = "harbor";
/// A namespace with system pods that has neither a label nor a known name.
const SYSTEM: &str = "own-system";
const PODS: &str = "/api/v1/namespaces/shop/pods";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices\
    ?labelSelector=kubernetes.io/service-name=image-swap-admission";
/// Kills the replicas. One may have ended by itself.
const KILL: &str = r"
for process in /proc/[0-9]*; do
    if tr '\0' ' ' < $process/cmdline | grep -q '^/usr/bin/image-swap webhook '; then
        kill -s KILL ${process#/proc/}
    fi
done 2> /dev/null
:";

#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn ordinary_pods_wait_while_no_replica_runs() -> Result<()> {
    let stage = Stage::start()?;
    publish_nginx(&stage)?;
    for namespace in [NAMESPACE, REGISTRY, SYSTEM] {
        stage.control_plane.create_namespace(namespace)?;
    }
    stage.install(&Install::default())?;

    stage.step("all replicas are gone: the pod of an ordinary Deployment waits");
    scale(&stage, 0)?;
    until("the Service to have no endpoints", DEADLINE, || {
        let slices = items(&stage, SLICES)?;
        let endpoints = slices.iter().filter_map(|slice| slice["endpoints"].as_array());
        let ready = endpoints.flatten().any(|it| it["conditions"]["ready"] == true);
        if ready { Err(Wait::NotYet(format!("{slices:?}"))) } else { Ok(()) }
    })?;
    // A replica that is told to stop answers on open connections for some time.
    let killed = stage.node.inside("sh").args(["-c", KILL]).status()?;
    assert!(killed.success(), "{killed}");
    deploy(&stage, NAMESPACE, "shop")?;
    wait_refused(&stage, NAMESPACE)?;

    stage.step("system pods start, and so does the registry in the cluster");
    stage.kubectl(&["label", "namespace", REGISTRY, "k8s.twr.io/imageswap=disabled"])?;
    for namespace in ["kube-system", REGISTRY] {
        run_mirrored(&stage, namespace, "own", json!({}))?;
        stage.wait_pod(namespace, "own")?;
    }
    for (name, system) in [
        ("network", json!({ "hostNetwork": true })),
        ("priority", json!({ "priorityClassName": "system-cluster-critical" })),
    ] {
        run_mirrored(&stage, SYSTEM, name, system)?;
        stage.wait_pod(SYSTEM, name)?;
    }
    assert_eq!(items(&stage, PODS)?.len(), 0);

    stage.step("replicas are back: the pod that waited starts by itself");
    scale(&stage, 2)?;
    let pod = until("the Deployment's pod", DEADLINE, || {
        items(&stage, PODS)?.pop().ok_or_else(|| Wait::NotYet("no pod".into()))
    })?;
    assert_eq!(image(&pod), NGINX);
    stage.wait_pod(NAMESPACE, pod["metadata"]["name"].as_str().unwrap())?;
    stage.wait_ready(&Install::default())?;
    stage.wait_policy(&Install::default(), "Fail")?;
    assert_air_gap(&stage);
    Ok(())
}

fn scale(stage: &Stage, replicas: u8) -> Result<()> {
    let replicas = format!("--replicas={replicas}");
    stage.kubectl(&["scale", "deployment/image-swap-admission", &replicas])?;
    Ok(())
}
