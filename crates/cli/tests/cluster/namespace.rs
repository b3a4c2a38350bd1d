//! Deletion of the release's namespace by `kubectl delete namespace`, which runs no hook of Helm.

use image_swap_cluster::Controller;
use image_swap_core::control::policy::FailurePolicy;
use image_swap_testbed::Options;
use serde_json::{Value, json};

use crate::{
    install::Installed,
    replica::Replica,
    test_cluster::{
        ANCHORS, NAMESPACE, Running, TestCluster, controller_by, eventually, intervals, now, pod,
        release, settings, until,
    },
};

/// Values of the chart for Palette.
const PALETTE: &str = include_str!("../../../../tests/testkit/palette/values.yaml");

const PODS: &str = "/api/v1/namespaces/apps/pods";

/// Starts a cluster with a registration under `Fail`, and the controllers that delete namespaces
/// and collect garbage.
async fn set() -> (TestCluster, Running, std::sync::Arc<Replica>, image_swap_cluster::ReplicaTasks)
{
    let options = Options { controller_manager: true, ..Options::default() };
    let cluster = TestCluster::set_with(&options).await;
    let mut controller = cluster.controller(settings(), "one");
    let (replica, following) = cluster.replica().await;
    cluster.serve_at(replica.port());
    until(&mut controller.report, |it| it.policy.failure_policy == Some(FailurePolicy::Fail)).await;
    (cluster, controller, replica, following)
}

fn delete_namespace(cluster: &TestCluster, replica: &Replica) {
    cluster.request("DELETE", &format!("/api/v1/namespaces/{NAMESPACE}"), None);
    replica.stop();
}

/// Waits until no registration is left and an ordinary pod is admitted.
async fn pods_are_admitted(cluster: &TestCluster) {
    eventually(|| cluster.registration().is_none().then_some(())).await;
    let admitted = || {
        let request = || cluster.control_plane.request("POST", PODS, Some(&pod())).unwrap();
        (tokio::task::block_in_place(request).status == 201).then_some(())
    };
    eventually(admitted).await;
}

// guarantee: 4d
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn the_leader_deregisters_when_its_namespace_is_deleted() {
    let (cluster, _controller, replica, _following) = set().await;
    // A finalizer keeps the namespace until the controller has seen its deletion.
    let path = format!("/api/v1/namespaces/{NAMESPACE}/services/image-swap-admission");
    let held = json!({ "metadata": { "finalizers": ["example.org/held"] } });
    cluster.request("PATCH", &path, Some(&held));
    delete_namespace(&cluster, &replica);
    pods_are_admitted(&cluster).await;
    let namespace = cluster.get(&format!("/api/v1/namespaces/{NAMESPACE}")).unwrap();
    assert_eq!(namespace["status"]["phase"], "Terminating");
}

/// The namespace is deleted with the service account, whose permission deregistration needs.
// guarantee: 4d
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn the_leader_deregisters_before_its_account_is_deleted() {
    let installed = Installed::managed(PALETTE).await;
    let cluster = &installed.cluster;
    let client = installed.client_by_token().await;
    let mut controller = controller_by(&client, settings(), "one", intervals(), now);
    let (replica, _following) = cluster.replica().await;
    until(&mut replica.certificates(), |count| *count > 0).await;
    until(&mut controller.report, |it| it.policy.registered).await;
    // The namespace remains while a finalizer holds an object, so that Kubernetes alone would leave
    // the registration.
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "held", "finalizers": ["example.org/held"] },
    });
    cluster.request("POST", &format!("/api/v1/namespaces/{NAMESPACE}/configmaps"), Some(&map));
    delete_namespace(cluster, &replica);
    pods_are_admitted(cluster).await;
    let account = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts/image-swap-controller");
    eventually(|| cluster.get(&account).is_none().then_some(())).await;
    assert!(cluster.get(&format!("/api/v1/namespaces/{NAMESPACE}")).is_some());
}

// guarantee: 4d
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn registration_is_deleted_with_the_namespace() {
    let (cluster, controller, replica, _following) = set().await;
    let anchor = format!("{ANCHORS}/image-swap");
    let is_owned = |anchor: &Value| {
        let owners = anchor["metadata"]["ownerReferences"].as_array();
        owners.is_some_and(|owners| owners.iter().any(|it| it["kind"] == "Namespace"))
    };
    eventually(|| cluster.get(&anchor).filter(is_owned)).await;
    drop(controller);
    delete_namespace(&cluster, &replica);
    pods_are_admitted(&cluster).await;
    assert!(cluster.get(&anchor).is_none());
}

/// Kubernetes signals a process to end when its pod is deleted with the namespace.
// guarantee: 4d
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn ending_process_deregisters_only_with_its_namespace() {
    let cluster = TestCluster::set().await;
    let mut running = cluster.controller(settings(), "one");
    until(&mut running.report, |it| it.policy.registered).await;
    drop(running);
    let controller = Controller::new(&cluster.client, settings(), "one", intervals());
    controller.end().await;
    assert!(cluster.registration().is_some(), "a rollout");
    cluster.request("DELETE", &format!("/api/v1/namespaces/{}", release().namespace), None);
    controller.end().await;
    assert!(cluster.registration().is_none());
}
