//! Refused steps of a reconciliation do not keep others from being taken.

use image_swap_core::{
    control::effective::Origin, control::policy::FailurePolicy, status::ControllerReport,
};
use serde_json::{Value, json};

use crate::test_cluster::{
    BINDINGS, JET_SECRETS, NAMESPACE, NAMESPACES, POLICIES, SECRETS, TestCluster, eventually, keys,
    pod, settings, until,
};

/// Makes the API server refuse new objects of `kind` in the release's namespace. The controller
/// that counts objects does not run here.
fn allow_no(cluster: &TestCluster, kind: &str) {
    let quotas = format!("{NAMESPACES}/{NAMESPACE}/resourcequotas");
    let hard = json!({ kind: "0" });
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": kind },
        "spec": { "hard": hard },
    });
    cluster.request("POST", &quotas, Some(&quota));
    let status = json!({ "status": { "hard": hard, "used": hard } });
    cluster.request("PATCH", &format!("{quotas}/{kind}/status"), Some(&status));
}

fn fails(report: &ControllerReport, name: &str) -> bool {
    report.failing.iter().any(|step| step.name == name)
}

// guarantee: 4f
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn refused_step_does_not_stop_other_steps() {
    let cluster = TestCluster::set().await;
    cluster.demand_label("owner", "namespaces need the label owner").await;
    allow_no(&cluster, "configmaps");
    let mut controller = cluster.controller(settings(), "one");
    let (replica, _following) = cluster.replica().await;
    cluster.serve_at(replica.port());
    // Declaration, certificate and registration exist, and the policy is `Fail`: the probe shows
    // that a replica was reached, although the quota refuses its object.
    cluster.declare(SECRETS, "image-swap-declaration", &keys("chart.example.org"));
    let report = until(&mut controller.report, |it| {
        it.policy.failure_policy == Some(FailurePolicy::Fail)
            && it.declaration.source == Origin::Chart
            && fails(it, "jet-system")
            && fails(it, "status")
    })
    .await;
    assert_eq!(report.failing.len(), 2, "{:?}", report.failing);
    let reason = |name: &str| &report.failing.iter().find(|it| it.name == name).unwrap().error;
    assert!(reason("jet-system").contains("namespaces need the label owner"));
    assert!(reason("status").contains("exceeded quota"));
    let metrics = controller.metrics.text().unwrap();
    assert!(metrics.contains(r#"failing_step{step="jet-system"} 1"#), "{metrics}");
    eventually(|| cluster.events(NAMESPACE, "StepFailed").pop()).await;
    until(&mut replica.served(), |it| it.as_ref().is_some_and(|it| !it.hash.is_empty())).await;
    let stored = cluster.request("POST", "/api/v1/namespaces/apps/pods", Some(&pod()));
    let image = stored["spec"]["containers"][0]["image"].as_str().unwrap();
    assert!(image.starts_with("chart.example.org/"), "{image}");

    // No Secret can be created, but a deleted registration is created again all the same.
    allow_no(&cluster, "secrets");
    cluster.request("DELETE", &format!("{SECRETS}/image-swap-last-good"), None);
    until(&mut controller.report, |it| fails(it, "last-good")).await;
    let registration = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations\
                        /image-swap-admission";
    cluster.request("DELETE", registration, None);
    eventually(|| cluster.registration()).await;

    // Without policy and quotas, everything is created.
    let quotas = format!("{NAMESPACES}/{NAMESPACE}/resourcequotas");
    for path in [format!("{BINDINGS}/owner"), format!("{POLICIES}/owner")] {
        cluster.request("DELETE", &path, None);
    }
    for kind in ["configmaps", "secrets"] {
        cluster.request("DELETE", &format!("{quotas}/{kind}"), None);
    }
    until(&mut controller.report, |it| it.failing.is_empty()).await;
    assert!(cluster.get(&format!("{NAMESPACES}/jet-system")).is_some());
    assert!(cluster.get(&format!("{SECRETS}/image-swap-last-good")).is_some());
    let status = format!("{NAMESPACES}/{NAMESPACE}/configmaps/image-swap-status");
    eventually(|| cluster.get(&status)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn deleted_jet_system_is_created_again() {
    let cluster = TestCluster::set().await;
    let mut controller = cluster.controller(settings(), "one");
    let path = format!("{NAMESPACES}/jet-system");
    let first = eventually(|| cluster.get(&path)).await;
    // The controller that ends namespaces does not run here.
    cluster.request("DELETE", &path, None);
    let report = until(&mut controller.report, |it| fails(it, "jet-system")).await;
    assert!(report.failing[0].error.contains("being deleted"), "{:?}", report.failing);
    let mut ended = cluster.get(&path).unwrap();
    ended["spec"]["finalizers"] = json!([]);
    cluster.request("PUT", &format!("{path}/finalize"), Some(&ended));
    let is_new = |found: &Value| found["metadata"]["uid"] != first["metadata"]["uid"];
    eventually(|| cluster.get(&path).filter(is_new)).await;
    until(&mut controller.report, |it| it.failing.is_empty()).await;
    cluster.declare(JET_SECRETS, "registry-info", &keys("page.example.org"));
    until(&mut controller.report, |it| it.declaration.source == Origin::RegistryInfo).await;
}

// guarantee: 3b, 4f
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn a_declaration_too_large_to_keep_stops_nothing() {
    let cluster = TestCluster::set().await;
    let mut controller = cluster.controller(settings(), "one");
    until(&mut controller.report, |it| it.policy.registered).await;
    cluster.declare(JET_SECRETS, "registry-info", &keys("h.example.org"));
    let good = until(&mut controller.report, |it| it.declaration.rules == 1).await;

    // The API server accepts the text. In JSON each line break has two bytes.
    let mut large = keys("h.example.org");
    large.insert("MIRROR_REGISTRIES", format!("gcr.io::h.example.org/g{}", "\n".repeat(700_000)));
    cluster.declare(JET_SECRETS, "registry-info", &large);
    let report = until(&mut controller.report, |it| !it.declaration.refused.is_empty()).await;
    assert_eq!(report.declaration.hash, good.declaration.hash);
    assert!(report.declaration.findings[0].message.contains("bytes"), "{report:?}");
    eventually(|| cluster.events("jet-system", "RegistryInfoRefused").pop()).await;
    cluster.request("DELETE", &format!("{SECRETS}/image-swap-tls"), None);
    eventually(|| cluster.get(&format!("{SECRETS}/image-swap-tls"))).await;

    // Of many findings a hundred are reported, with the number of all.
    let rules: Vec<String> = (0..12_000)
        .map(|number| format!("docker.io/r{number}::h.example.org/airgap/r{number}"))
        .collect();
    let mut many = keys("h.example.org");
    many.insert("MIRROR_REGISTRIES", rules.join(","));
    cluster.declare(JET_SECRETS, "registry-info", &many);
    let report = until(&mut controller.report, |it| it.declaration.rules == 12_000).await;
    assert!(report.failing.is_empty(), "{:?}", report.failing);
    assert_eq!(report.declaration.findings.len(), 100);
    assert!(report.declaration.finding_count > 10_000, "{}", report.declaration.finding_count);
    let metrics = controller.metrics.text().unwrap();
    assert!(metrics.matches("declaration_finding{").count() <= 100);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn jet_system_is_created_with_demanded_labels() {
    let cluster = TestCluster::set().await;
    cluster.demand_label("owner", "namespaces need the label owner").await;
    let mut labelled = settings();
    labelled.registry_info_labels.insert("owner".into(), "platform".into());
    let path = format!("{NAMESPACES}/jet-system");
    let mut controller = cluster.controller(labelled, "one");
    let namespace = eventually(|| cluster.get(&path)).await;
    assert_eq!(namespace["metadata"]["labels"]["owner"], "platform");
    until(&mut controller.report, |it| it.failing.is_empty()).await;
}
