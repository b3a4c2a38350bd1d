//! Adoption of the registrations of other programs.

use std::time::Duration;

use image_swap_cluster::Intervals;
use image_swap_core::{admission::Mode, status::ProbeStatus};
use serde_json::json;

use crate::{
    registration::imageswap,
    test_cluster::{
        NAMESPACE, NAMESPACES, REGISTRATIONS, TestCluster, controller_by, intervals, now, settings,
        until,
    },
};

/// A restarted program has no endpoint for a while.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn a_restarted_imageswap_is_neither_adopted_nor_dead() {
    let cluster = TestCluster::set().await;
    let (replica, _following) = cluster.replica().await;
    cluster.serve_at(replica.port());
    cluster.request("POST", REGISTRATIONS, Some(&imageswap("image-swap-admission")));
    let patient = Intervals { grace: Duration::from_hours(1), ..intervals() };
    let mut adopting = settings();
    adopting.adopt = true;
    let mut controller = controller_by(&cluster.client, adopting, "one", patient, now);
    until(&mut controller.report, |it| it.foreign.first().is_some_and(|it| it.alive)).await;
    // The Service loses its endpoints; the probes show that the controller noticed. An
    // API server keeps calling over a connection that stays open.
    replica.stop();
    cluster.serve_at_all(&[]);
    let report =
        until(&mut controller.report, |it| it.policy.probe == ProbeStatus::NoEndpoints).await;
    assert_eq!((report.policy.mode, report.foreign[0].alive), (Some(Mode::Audit), true));
    assert!(cluster.get(&format!("{REGISTRATIONS}/imageswap-webhook")).is_some());
}

/// Kubernetes keeps no endpoints of such a Service, and API servers call the name.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn webhook_behind_an_external_name_is_alive() {
    let cluster = TestCluster::set().await;
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "outside" },
        "spec": { "type": "ExternalName", "externalName": "swap.example.org" },
    });
    cluster.request("POST", &format!("{NAMESPACES}/{NAMESPACE}/services"), Some(&service));
    cluster.request("POST", REGISTRATIONS, Some(&imageswap("outside")));
    let mut dead = imageswap("absent");
    dead["metadata"]["name"] = "k8s-image-swapper-webhook".into();
    cluster.request("POST", REGISTRATIONS, Some(&dead));
    let hasty = Intervals { grace: Duration::ZERO, ..intervals() };
    let mut adopting = settings();
    adopting.adopt = true;
    let mut controller = controller_by(&cluster.client, adopting, "one", hasty, now);
    // The other one, whose Service is absent, is removed.
    let report = until(&mut controller.report, |it| it.foreign.len() == 1).await;
    let left = &report.foreign[0];
    assert_eq!((left.configuration.as_str(), left.alive), ("imageswap-webhook", true));
    assert!(cluster.get(&format!("{REGISTRATIONS}/imageswap-webhook")).is_some());
    assert!(cluster.get(&format!("{REGISTRATIONS}/k8s-image-swapper-webhook")).is_none());
}
