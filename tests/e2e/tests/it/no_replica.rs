//! No replica of the webhook runs, on a real node.

use anyhow::Result;
use image_swap_e2e::{DEADLINE, HelmCluster, Install};
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

// guarantee: 4a, 4f
#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn ordinary_pods_wait_while_no_replica_runs() -> Result<()> {
    let cluster = HelmCluster::start()?;
    publish_nginx(&cluster)?;
    for namespace in [NAMESPACE, REGISTRY, SYSTEM] {
        cluster.control_plane.create_namespace(namespace)?;
    }
    cluster.install(&Install::default())?;

    cluster.step("all replicas are gone: the pod of an ordinary Deployment waits");
    scale(&cluster, 0)?;
    until("the Service to have no endpoints", DEADLINE, || {
        let slices = items(&cluster, SLICES)?;
        let endpoints = slices.iter().filter_map(|slice| slice["endpoints"].as_array());
        let ready = endpoints.flatten().any(|it| it["conditions"]["ready"] == true);
        if ready { Err(Wait::NotYet(format!("{slices:?}"))) } else { Ok(()) }
    })?;
    // A replica that receives SIGTERM answers on open connections for some time.
    let killed = cluster.node.inside("sh").args(["-c", KILL]).status()?;
    assert!(killed.success(), "{killed}");
    deploy(&cluster, NAMESPACE, "shop")?;
    wait_refused(&cluster, NAMESPACE)?;

    cluster.step("system pods start, and so does the registry in the cluster");
    cluster.kubectl(&["label", "namespace", REGISTRY, "k8s.twr.io/imageswap=disabled"])?;
    for namespace in ["kube-system", REGISTRY] {
        run_mirrored(&cluster, namespace, "own", json!({}))?;
        cluster.wait_pod(namespace, "own")?;
    }
    for (name, system) in [
        ("network", json!({ "hostNetwork": true })),
        ("priority", json!({ "priorityClassName": "system-cluster-critical" })),
    ] {
        run_mirrored(&cluster, SYSTEM, name, system)?;
        cluster.wait_pod(SYSTEM, name)?;
    }
    assert_eq!(items(&cluster, PODS)?.len(), 0);

    cluster.step("replicas are back: the pod that waited starts by itself");
    scale(&cluster, 2)?;
    let pod = until("the Deployment's pod", DEADLINE, || {
        items(&cluster, PODS)?.pop().ok_or_else(|| Wait::NotYet("no pod".into()))
    })?;
    assert_eq!(image(&pod), NGINX);
    cluster.wait_pod(NAMESPACE, pod["metadata"]["name"].as_str().unwrap())?;
    cluster.wait_ready(&Install::default())?;
    cluster.wait_policy(&Install::default(), "Fail")?;
    assert_air_gap(&cluster);
    Ok(())
}

fn scale(cluster: &HelmCluster, replicas: u8) -> Result<()> {
    let replicas = format!("--replicas={replicas}");
    cluster.kubectl(&["scale", "deployment/image-swap-admission", &replicas])?;
    Ok(())
}
