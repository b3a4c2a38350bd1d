//! `EndpointSlices`. `Endpoints` are deprecated since 1.33.

use anyhow::Result;
use image_swap_e2e::{DEADLINE, HelmCluster, Install, PALETTE_VALUES};
use image_swap_testbed::{Wait, until};

use crate::{NGINX, imageswap, workloads::items};

#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn replicas_are_reached_through_endpoint_slices() -> Result<()> {
    let cluster = HelmCluster::start()?;
    cluster.install(&Install::default())?;
    let of_service = "labelSelector=kubernetes.io/service-name=image-swap-admission";
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    let slices = items(&cluster, &format!("{slices}?{of_service}"))?;
    let endpoints = slices.iter().filter_map(|slice| slice["endpoints"].as_array()).flatten();
    let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true);
    let mut found: Vec<&str> = ready.filter_map(|it| it["addresses"][0].as_str()).collect();
    let replicas = "/api/v1/namespaces/default/pods\
                    ?labelSelector=app.kubernetes.io/component=admission";
    let replicas = items(&cluster, replicas)?;
    let mut expected: Vec<&str> =
        replicas.iter().filter_map(|replica| replica["status"]["podIP"].as_str()).collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!((found.len(), &found), (2, &expected), "{slices:?}");
    cluster.wait_swapped("nginx:1.25", NGINX)
}

/// A living webhook of upstream's program. Its Service has no selector, and its only
/// endpoint is in an `EndpointSlice`.
#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn living_webhook_behind_an_endpoint_slice_stays() -> Result<()> {
    let cluster = HelmCluster::start()?;
    cluster.install(&Install::with(&[PALETTE_VALUES, "adopt: true", "adoptAfter: 10s"]))?;
    cluster.step("a living webhook appears");
    cluster.control_plane.create_namespace("imageswap-system")?;
    cluster.publish("listener", "1", "listener", &["httpd", "-f", "-p", "5000"])?;
    cluster.kubectl(&["run", "listener", "--image=harbor.example.org/airgap-images/listener:1"])?;
    let listener = cluster.wait_pod("default", "listener")?;
    let address = listener["status"]["podIP"].as_str().unwrap();
    cluster.apply(&format!(
        r"
apiVersion: v1
kind: Service
metadata: {{name: imageswap, namespace: imageswap-system}}
spec: {{ports: [{{name: https, port: 443, targetPort: 5000}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: imageswap
  namespace: imageswap-system
  labels: {{kubernetes.io/service-name: imageswap}}
addressType: IPv4
ports: [{{name: https, port: 5000, protocol: TCP}}]
endpoints: [{{addresses: ['{address}'], conditions: {{ready: true}}}}]
"
    ))?;
    cluster.apply(&imageswap::registration("imageswap-system"))?;
    let registered = ["get", "mutatingwebhookconfigurations", "--output=name"];
    until("the report of a living webhook", DEADLINE, || {
        let status = cluster.status(&Install::default()).unwrap_or_default();
        let is_alive = status["foreign"][0]["alive"] == true;
        if is_alive { Ok(()) } else { Err(Wait::NotYet(status["foreign"].to_string())) }
    })?;
    cluster.step("its endpoint is gone: it is removed after a while");
    assert!(cluster.kubectl(&registered)?.contains("imageswap-webhook"));
    cluster.kubectl(&["delete", "endpointslice", "imageswap", "--namespace=imageswap-system"])?;
    until("the registration to be removed", DEADLINE, || {
        let names =
            cluster.kubectl(&registered).map_err(|error| Wait::NotYet(error.to_string()))?;
        if names.contains("imageswap-webhook") { Err(Wait::NotYet(names)) } else { Ok(()) }
    })?;
    Ok(())
}
