//! The fleet controller on a management cluster with real workload clusters.

use serde_json::json;

use crate::{
    fleet::{CONTROLLER, Fleet, REGISTRY_INFO, RELEASE, apply, condition, kubectl},
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

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn one_cluster_in_two_entries_has_one_in_force() {
    let fleet = Fleet::with_clusters(2).await;
    fleet.wait_declared(0, 1, "one");
    let kubeconfig = fleet.planes.workloads[0].administrator_kubeconfig().unwrap();
    fleet.enter("again", &kubeconfig);
    let status = fleet.wait_applied("again", "Duplicate");
    let message = condition(&status, "Applied")["message"].to_string();
    assert!(message.contains("clusters/a.kubeconfig"), "{message}");
    fleet.wait("a", "reported", |status| {
        condition(status, "Applied")["message"].to_string().contains("clusters/again.kubeconfig")
    });
    fleet.declare(2, "two");
    fleet.wait_declared(0, 2, "two");

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
