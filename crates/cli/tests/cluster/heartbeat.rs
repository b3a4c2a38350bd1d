//! The heartbeat, which the fleet controller of a management cluster watches.

use std::time::Duration;

use image_swap_cluster::{Intervals, Settings};
use image_swap_core::{
    control::effective::Origin,
    status::cluster_summary::{ClusterSummary, SummaryProblem, WebhookSummary},
};
use serde_json::{Value, json};

use crate::test_cluster::{
    JET_SECRETS, TestCluster, controller_by, eventually, intervals, keys, now, pod, settings, until,
};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/image-swap-system/leases";

fn lease(cluster: &TestCluster) -> Option<Value> {
    cluster.get(&format!("{LEASES}/image-swap-heartbeat"))
}

fn summary(lease: &Value) -> ClusterSummary {
    let text = lease["metadata"]["annotations"]["image-swap.io/summary"].as_str().unwrap();
    ClusterSummary::parse(text).unwrap()
}

/// Waits for a heartbeat with a summary that satisfies `enough`.
async fn beat(cluster: &TestCluster, enough: impl Fn(&ClusterSummary) -> bool) -> Value {
    eventually(|| lease(cluster).filter(|it| enough(&summary(it)))).await
}

/// Sets the annotation of `registry-info` to `revision`; `null` removes it.
fn annotate(cluster: &TestCluster, revision: &Value) {
    let mark = json!({ "metadata": { "annotations": { "image-swap.io/revision": revision } } });
    cluster.request("PATCH", &format!("{JET_SECRETS}/registry-info"), Some(&mark));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn heartbeat_follows_the_declaration() {
    let cluster = TestCluster::set().await;
    let bundle_hash = Some("0123456789abcdef".to_owned());
    let with_heartbeat = Settings { heartbeat: true, bundle_hash, ..settings() };
    let controller = cluster.controller(with_heartbeat, "one");
    let first = beat(&cluster, |it| it.webhook == WebhookSummary::Ignore).await;
    assert_eq!(summary(&first).bundle_hash.as_deref(), Some("0123456789abcdef"));
    assert_eq!(first["spec"]["holderIdentity"], "one");
    assert_eq!(first["spec"]["leaseDurationSeconds"], 180);
    let owner = &first["metadata"]["ownerReferences"][0];
    assert_eq!((&owner["kind"], &owner["name"]), (&json!("ClusterRole"), &json!("image-swap")));
    let empty = summary(&first);
    assert_eq!((empty.source, empty.registry_info_revision), (Origin::None, None));

    cluster.declare(JET_SECRETS, "registry-info", &keys("page.example.org"));
    let declared = beat(&cluster, |it| it.source == Origin::RegistryInfo).await;
    assert_eq!(summary(&declared).registry_info_revision, None);
    annotate(&cluster, &json!("7"));
    let seventh = beat(&cluster, |it| it.registry_info_revision == Some(7)).await;
    assert_eq!(summary(&seventh).hash, summary(&declared).hash);
    assert!(!seventh.to_string().contains("s3cret"), "{seventh}");

    // A declaration that is refused does not count.
    let mut broken = keys("page.example.org");
    broken.insert("INSECURE", "maybe".into());
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "stringData": broken,
        "metadata": {
            "name": "registry-info", "annotations": { "image-swap.io/revision": "8" },
        },
    });
    cluster.request("PUT", &format!("{JET_SECRETS}/registry-info"), Some(&secret));
    let is_refused =
        |it: &ClusterSummary| it.problems.contains(&SummaryProblem::DeclarationRefused);
    let refused = summary(&beat(&cluster, is_refused).await);
    assert_eq!((refused.hash, refused.registry_info_revision), (summary(&declared).hash, None));
    drop(controller);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn heartbeat_is_renewed_without_a_change() {
    let cluster = TestCluster::set().await;
    let often = Intervals { heartbeat: Duration::from_millis(50), ..intervals() };
    let settings = Settings { heartbeat: true, ..settings() };
    let controller = controller_by(&cluster.client, settings, "one", often, now);
    let time = |lease: &Value| lease["spec"]["renewTime"].as_str().unwrap().to_owned();
    let first = beat(&cluster, |_| true).await;
    for _ in 0..2 {
        beat(&cluster, |_| lease(&cluster).is_some_and(|it| time(&it) != time(&first))).await;
    }
    // A deleted Lease returns.
    let uid = first["metadata"]["uid"].clone();
    cluster.request("DELETE", &format!("{LEASES}/image-swap-heartbeat"), None);
    eventually(|| lease(&cluster).filter(|it| it["metadata"]["uid"] != uid)).await;
    drop(controller);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn no_heartbeat_is_sent_without_the_flag() {
    let cluster = TestCluster::set().await;
    let mut controller = cluster.controller(settings(), "one");
    until(&mut controller.report, |it| it.policy.registered).await;
    cluster.declare(JET_SECRETS, "registry-info", &keys("page.example.org"));
    until(&mut controller.report, |it| it.declaration.source == Origin::RegistryInfo).await;
    // The controller has reconciled again.
    annotate(&cluster, &json!("7"));
    until(&mut controller.report, |it| it.declaration.registry_info_revision == Some(7)).await;
    assert_eq!(lease(&cluster), None);
    assert!(cluster.get(&format!("{LEASES}/image-swap-controller")).is_some());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn running_pods_that_no_mirror_serves_are_counted() {
    let cluster = TestCluster::set().await;
    let often = Intervals { heartbeat: Duration::from_millis(50), ..intervals() };
    let settings = Settings { heartbeat: true, ..settings() };
    let controller = controller_by(&cluster.client, settings, "one", often, now);
    let first = beat(&cluster, |_| true).await;
    assert_eq!(summary(&first).pods_not_from_mirror, None);
    cluster.declare(JET_SECRETS, "registry-info", &keys("page.example.org"));
    beat(&cluster, |it| it.pods_not_from_mirror == Some(0)).await;

    let pods = "/api/v1/namespaces/apps/pods";
    let mirrored = "page.example.org/airgap/docker.io/library/nginx";
    // Nodes without agents request no mirror for `nginx`.
    for (name, image) in [("one", mirrored), ("two", "nginx"), ("three", "ghcr.io/a/b")] {
        let mut created = pod();
        created["metadata"]["name"] = name.into();
        created["spec"]["containers"][0]["image"] = image.into();
        cluster.request("POST", pods, Some(&created));
    }
    let start = |name: &str| {
        let status = json!({ "status": { "phase": "Running" } });
        cluster.request("PATCH", &format!("{pods}/{name}/status"), Some(&status));
    };
    start("one");
    start("two");
    beat(&cluster, |it| it.pods_not_from_mirror == Some(1)).await;
    start("three");
    beat(&cluster, |it| it.pods_not_from_mirror == Some(2)).await;
    cluster.request("DELETE", &format!("{pods}/two?gracePeriodSeconds=0"), None);
    beat(&cluster, |it| it.pods_not_from_mirror == Some(1)).await;
    drop(controller);
}
