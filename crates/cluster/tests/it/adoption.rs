//! Adoption of the registrations of other programs.

use std::time::Duration;

use image_swap_cluster::Intervals;
use image_swap_core::{admission::Mode, status::ProbeStatus};
use serde_json::json;

use crate::{
    registration::imageswap,
    stage::{
        NAMESPACE, NAMESPACES, REGISTRATIONS, Stage, controller_by, intervals, now, settings, until,
    },
};

/// Another program that is restarted has no endpoint for a while.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn a_restarted_imageswap_is_neither_adopted_nor_dead() {
    let stage = Stage::set().await;
    let (replica, _following) = stage.replica().await;
    stage.serve_at(replica.port());
    stage.request("POST", REGISTRATIONS, Some(&imageswap("image-swap-admission")));
    let patient = Intervals { grace: Duration::from_hours(1), ..intervals() };
    let mut adopting = settings();
    adopting.adopt = true;
    let mut controller = controller_by(&stage.client, adopting, "one", patient, now);
    until(&mut controller.report, |it| it.foreign.first().is_some_and(|it| it.alive)).await;
    // The Service loses its endpoints; the probes show that the controller noticed. An
    // API server keeps calling over a connection that stays open.
    replica.stop();
    stage.serve_at_all(&[]);
    let report =
        until(&mut controller.report, |it| it.policy.probe == ProbeStatus::NoEndpoints).await;
    assert_eq!((report.policy.mode, report.foreign[0].alive), (Some(Mode::Audit), true));
    assert!(stage.get(&format!("{REGISTRATIONS}/imageswap-webhook")).is_some());
}

/// Kubernetes keeps no endpoints of such a Service, and API servers call the name.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn webhook_behind_an_external_name_is_alive() {
    let stage = Stage::set().await;
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "outside" },
        "spec": { "type": "ExternalName", "externalName": "swap.example.org" },
    });
    stage.request("POST", &format!("{NAMESPACES}/{NAMESPACE}/services"), Some(&service));
    stage.request("POST", REGISTRATIONS, Some(&imageswap("outside")));
    let mut dead = imageswap("absent");
    dead["metadata"]["name"] = "k8s-image-swapper-webhook".into();
    stage.request("POST", REGISTRATIONS, Some(&dead));
    let hasty = Intervals { grace: Duration::ZERO, ..intervals() };
    let mut adopting = settings();
    adopting.adopt = true;
    let mut controller = controller_by(&stage.client, adopting, "one", hasty, now);
    // The other one, whose Service is absent, is removed.
    let report = until(&mut controller.report, |it| it.foreign.len() == 1).await;
    let left = &report.foreign[0];
    assert_eq!((left.configuration.as_str(), left.alive), ("imageswap-webhook", true));
    assert!(stage.get(&format!("{REGISTRATIONS}/imageswap-webhook")).is_some());
    assert!(stage.get(&format!("{REGISTRATIONS}/k8s-image-swapper-webhook")).is_none());
}
