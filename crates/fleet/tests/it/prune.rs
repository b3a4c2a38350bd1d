//! Objects that a bundle no longer has, in both directions of an upgrade.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::workload::{NAMESPACE, Workload, declaration};

const RECORD: &str = "/api/v1/namespaces/image-swap/configmaps/image-swap-fleet-objects";
/// Values of a bundle with fewer objects.
const FEWER: &str = r#"{"networkPolicy":{"enabled":false},"agent":{"enabled":false}}"#;

fn version(object: Option<&Value>) -> String {
    object.unwrap()["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
}

/// Returns the names of the objects of the cluster, apart from the record and objects that are
/// never pruned.
fn present(workload: &Workload) -> BTreeSet<String> {
    let mut names = workload.names();
    names.retain(|it| {
        let is_kept = ["namespaces ", "customresourcedefinitions ", "apiservices "];
        !is_kept.iter().any(|kind| it.starts_with(kind))
    });
    names
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn objects_of_the_other_bundle_are_pruned_both_ways() {
    let mut workload = Workload::start(false);
    let more = workload.objects("", &declaration()).await;
    let fewer = workload.objects(FEWER, &declaration()).await;
    assert!(more.len() > fewer.len() + 10, "{} and {}", more.len(), fewer.len());

    // A fresh installation of each bundle is the measure.
    let report = workload.apply(&fewer).await;
    assert!(report.is_complete() && report.pruned.is_empty(), "{report:?}");
    let with_fewer = present(&workload);
    let report = workload.apply(&more).await;
    assert!(report.is_complete() && report.pruned.is_empty(), "{report:?}");
    let with_more = present(&workload);
    assert!(with_more.is_superset(&with_fewer));
    let policy = format!("networkpolicies {NAMESPACE}/image-swap-admission");
    assert!(with_more.contains(&policy) && !with_fewer.contains(&policy));

    // Nothing is written in steady state.
    let before = version(workload.get(RECORD).as_ref());
    assert_eq!(workload.apply(&more).await.written, 0);
    assert_eq!(version(workload.get(RECORD).as_ref()), before);

    // Going back, and again. Namespaces stay.
    let report = workload.apply(&fewer).await;
    assert!(report.is_complete() && report.failures.is_empty(), "{report:?}");
    assert!(report.pruned.contains(&format!("NetworkPolicy {NAMESPACE}/image-swap-admission")));
    workload.until_names(&with_fewer, present);
    assert!(workload.get("/api/v1/namespaces/image-swap-agent").is_some());
    assert!(workload.apply(&fewer).await.pruned.is_empty());
    assert!(workload.apply(&more).await.is_complete());
    workload.until_names(&with_more, present);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn objects_of_others_are_not_pruned() {
    let mut workload = Workload::start(false);
    let more = workload.objects("", &declaration()).await;
    let fewer = workload.objects(FEWER, &declaration()).await;
    assert!(workload.apply(&more).await.is_complete());
    let policies = "/apis/networking.k8s.io/v1/namespaces/image-swap/networkpolicies";
    workload.apply_by_other(&json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {
            "name": "image-swap-admission", "namespace": NAMESPACE, "labels": { "mine": "x" },
        },
    }));
    // The record of a hostile cluster names objects of other programs.
    workload.plane.create_namespace("apps").unwrap();
    let map = json!({ "kind": "ConfigMap", "metadata": { "name": "mine" } });
    workload.request("POST", "/api/v1/namespaces/apps/configmaps", Some(&map));
    let record = workload.get(RECORD).unwrap()["data"]["objects"].as_str().unwrap().to_owned();
    let record = format!("{record}v1 ConfigMap apps/mine\nv1 Namespace apps\nv1 Secret ../x\n");
    let patch = json!({ "data": { "objects": record } });
    workload.request("PATCH", RECORD, Some(&patch));

    let report = workload.apply(&fewer).await;
    assert!(report.is_complete() && report.failures.is_empty(), "{report:?}");
    assert!(workload.get(&format!("{policies}/image-swap-admission")).is_some());
    assert!(workload.get(&format!("{policies}/image-swap-controller")).is_none());
    assert!(workload.get("/api/v1/namespaces/apps/configmaps/mine").is_some());
    let record = workload.get(RECORD).unwrap()["data"]["objects"].to_string();
    assert!(!record.contains("apps/mine"), "{record}");
}

/// Covers a fleet controller that ends between two writes: the record names every object at any time.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn record_comes_before_the_objects() {
    let mut workload = Workload::start(false);
    let fewer = workload.objects(FEWER, &declaration()).await;
    let more = workload.objects("", &declaration()).await;
    assert!(workload.apply(&fewer).await.is_complete());
    // An object of the bundle that is held by another writer stops the application.
    workload.apply_by_other(&json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": { "name": "image-swap-controller", "namespace": NAMESPACE },
        "automountServiceAccountToken": true,
    }));
    let report = workload.apply(&more).await;
    assert!(!report.is_complete() && report.pruned.is_empty(), "{report:?}");
    let record = workload.get(RECORD).unwrap()["data"]["objects"].as_str().unwrap().to_owned();
    let new = "networking.k8s.io/v1 NetworkPolicy image-swap/image-swap-admission";
    assert!(record.contains(new), "{record}");
    // The earlier bundle again: what the other one had left is deleted, once it is in force.
    workload.request(
        "DELETE",
        "/api/v1/namespaces/image-swap/serviceaccounts/image-swap-controller",
        None,
    );
    assert!(workload.apply(&fewer).await.is_complete());
    let record = workload.get(RECORD).unwrap()["data"]["objects"].as_str().unwrap().to_owned();
    assert!(!record.contains(new), "{record}");
}
