//! The fleet controller on a management cluster with real workload clusters.

use std::time::Duration;

use image_swap_core::fleet::inventory::ClusterSource;
use image_swap_fleet::FleetSettings;
use image_swap_testkit::custom_resource;
use serde_json::{Value, json};

use crate::{
    fleet::{
        CONTROLLER, Fleet, REGISTRY_INFO, RELEASE, apply, condition, kubectl, report, text,
        wait_until,
    },
    hub::NAMESPACE,
};

// guarantee: 6b
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn declaration_reaches_every_cluster_and_stays_in_force() {
    let mut fleet = Fleet::with_clusters(3).await;
    for index in 0..3 {
        fleet.wait_declared(index, 1, "one");
        fleet.wait_object(index, CONTROLLER, |it| it.is_some());
    }

    // A change of the declaration.
    fleet.declare(2, "two");
    for index in 0..3 {
        fleet.wait_declared(index, 2, "two");
    }

    // Drift is repaired.
    let scale = ["scale", "deployment", "image-swap-controller", "--replicas=0", "-nimage-swap"];
    kubectl(&fleet.planes.workloads[0], &scale);
    fleet.wait_object(0, CONTROLLER, |it| it.is_some_and(|it| it["spec"]["replicas"] == 1));

    // A field of another Apply manager is a conflict.
    let other = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "image-swap-controller", "namespace": "image-swap" },
        "spec": { "replicas": 3 },
    });
    apply(&fleet.planes.workloads[0], &other.to_string());
    let status = fleet.wait_applied("a", "Conflict");
    let message = condition(&status, "Conflict")["message"].to_string();
    assert!(message.contains("replicas"), "{message}");
    fleet.wait_object(0, CONTROLLER, |it| it.is_some_and(|it| it["spec"]["replicas"] == 3));
    let event = fleet.wait_event(NAMESPACE, "a.kubeconfig", "Conflict");
    assert_eq!(event["type"], "Warning");
    assert!(![&status, &event].iter().any(|it| it.to_string().contains("hunter2")), "{event}");

    // A silent cluster delays no other one, and gets the declaration when it is back.
    fleet.planes.workloads[1].api_server().suspend().unwrap();
    let mine = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "image-swap-controller", "namespace": "image-swap" },
    });
    apply(&fleet.planes.workloads[0], &mine.to_string());
    fleet.declare(3, "three");
    fleet.wait_declared(0, 3, "three");
    fleet.wait_declared(2, 3, "three");
    fleet.wait_applied("b", "Unreachable");
    fleet.planes.workloads[1].api_server().resume().unwrap();
    fleet.wait_declared(1, 3, "three");
    let events = ["Unreachable", "Recovered"];
    for reason in events {
        fleet.wait_event(NAMESPACE, "b.kubeconfig", reason);
    }
    let describe = ["describe", "workloadcluster", "b.kubeconfig", "--namespace", NAMESPACE];
    let described = kubectl(&fleet.planes.hub, &describe);
    assert!(events.iter().all(|it| described.contains(it)), "{described}");

    // Another leader continues.
    fleet.lead(|_| {}).await;
    fleet.declare(4, "four");
    for index in 0..3 {
        fleet.wait_declared(index, 4, "four");
    }

    // An administrator pauses a cluster, and goes back to an earlier declaration.
    fleet.annotate("a", "image-swap.io/fleet=2");
    fleet.wait_declared(0, 2, "two");
    fleet.annotate("a", "image-swap.io/fleet=paused");
    fleet.wait_applied("a", "Paused");
    fleet.declare(5, "five");
    fleet.wait_declared(1, 5, "five");
    fleet.annotate("a", "image-swap.io/fleet-");
    fleet.wait_declared(0, 5, "five");

    // Removal on request.
    fleet.annotate("b", "image-swap.io/fleet=removed");
    fleet.wait_applied("b", "Removed");
    fleet.wait_object(1, CONTROLLER, |it| it.is_none());
    for index in [0, 2] {
        fleet.wait_object(index, CONTROLLER, |it| it.is_some());
    }

    // The declaration of the management cluster is gone: nothing changes.
    kubectl(
        &fleet.planes.hub,
        &["delete", "secret", "image-swap-last-good", "--namespace", RELEASE],
    );
    fleet.wait_applied("a", "Orphaned");
    fleet.wait_object(0, REGISTRY_INFO, |it| it.is_some());
}

/// Enters a cluster into the inventory as a `Cluster` of Cluster API. Returns the path of its report.
fn enter_cluster(fleet: &Fleet, name: &str, kubeconfig: &str) -> String {
    let hub = &fleet.planes.hub;
    apply(hub, &custom_resource("cluster.x-k8s.io", "Cluster", &["v1beta2"]).to_string());
    let path = format!("/apis/cluster.x-k8s.io/v1beta2/namespaces/{NAMESPACE}/clusters");
    wait_until("clusters", || hub.get(&path).ok().flatten().ok_or_else(String::new));
    let objects = json!({ "apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster",
            "metadata": { "name": name, "namespace": NAMESPACE },
            "status": { "initialization": { "controlPlaneInitialized": true } },
        },
        {
            "apiVersion": "v1", "kind": "Secret", "type": "cluster.x-k8s.io/secret",
            "metadata": {
                "name": format!("{name}-kubeconfig"), "namespace": NAMESPACE,
                "labels": { "cluster.x-k8s.io/cluster-name": name },
            },
            "stringData": { "value": kubeconfig },
        },
    ] });
    apply(hub, &objects.to_string());
    report(NAMESPACE, name).trim_end_matches(".kubeconfig").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn cluster_in_several_entries_has_one_in_force() {
    let mut fleet = Fleet::prepare(1);
    let kubeconfig = fleet.planes.workloads[0].administrator_kubeconfig().unwrap();
    fleet.enter("a", &kubeconfig);
    let both = |settings: &mut FleetSettings| {
        settings.sources.sources = [ClusterSource::Kubeconfig, ClusterSource::ClusterApi].into();
        settings.sources.search_interval = Duration::from_secs(1);
    };
    fleet.lead(both).await;
    fleet.wait_declared(0, 1, "one");

    // Cluster API has the cluster, too, and another Secret.
    let names = |status: &Value, other: &str| {
        let applied = condition(status, "Applied");
        applied["message"].as_str().unwrap_or_default().contains(other)
    };
    let is_duplicate = |status: &Value, other: &str| {
        condition(status, "Applied")["reason"] == "Duplicate" && names(status, other)
    };
    let cluster = enter_cluster(&fleet, "capi", &kubeconfig);
    fleet.wait_report(&cluster, "a duplicate", |it| is_duplicate(it, "clusters/a.kubeconfig"));
    fleet.enter("again", &kubeconfig);
    fleet.wait("again", "a duplicate", |it| is_duplicate(it, "clusters/a.kubeconfig"));
    fleet.wait("a", "reported", |status| names(status, "clusters/capi"));
    fleet.declare(2, "two");
    fleet.wait_declared(0, 2, "two");

    // The entry known next longest takes over, and image-swap stays.
    let uid =
        || fleet.planes.workloads[0].get(CONTROLLER).unwrap().unwrap()["metadata"]["uid"].clone();
    let before = uid();
    kubectl(&fleet.planes.hub, &["delete", "secret", "a", "--namespace", NAMESPACE]);
    let is_in_force = |status: &Value, revision: u64| {
        status["appliedRevision"] == revision && condition(status, "Applied")["status"] == "True"
    };
    fleet.wait_report(&cluster, "in force", |it| {
        is_in_force(it, 2) && names(it, "clusters/again.kubeconfig")
    });
    fleet.wait("again", "a duplicate", |it| is_duplicate(it, "clusters/capi"));
    assert_eq!(fleet.planes.hub.get(&report(NAMESPACE, "a")).unwrap(), None);
    fleet.declare(3, "three");
    fleet.wait_report(&cluster, "up to date", |it| is_in_force(it, 3));
    fleet.wait_object(0, REGISTRY_INFO, |it| {
        it.is_some_and(|it| text(it, "MIRROR_REGISTRIES").ends_with("/three"))
    });
    assert_eq!(uid(), before);

    // A kubeconfig that would run a program.
    fleet.enter("refused", &kubeconfig_with_exec());
    let status = fleet.wait_applied("refused", "Refused");
    assert!(condition(&status, "Applied")["message"].to_string().contains("exec"), "{status}");
}

fn kubeconfig_with_exec() -> String {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
        "clusters": [{ "name": "c", "cluster": { "server": "https://127.0.0.1:1" } }],
        "users": [{ "name": "u", "user": { "exec": { "command": "true" } } }],
    })
    .to_string()
}
