//! The webhook configuration: its registration, its failure policy, its repairs and its removal.

use std::{
    net::{Ipv4Addr, TcpListener},
    time::Duration,
};

use image_swap_cluster::{Intervals, deregister};
use image_swap_core::{admission::Mode, control::policy::FailurePolicy, status::ProbeStatus};
use image_swap_testkit::webhook_configuration;
use serde_json::{Value, json};

use crate::test_cluster::{
    ANCHORS, JET_SECRETS, NAMESPACE, REGISTRATIONS, SECRETS, TestCluster, controller_by,
    eventually, intervals, keys, now, pod, release, settings, until,
};

const OURS: &str =
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/image-swap-admission";

// guarantee: 4c
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn policy_is_fail_while_replicas_are_reached() {
    let cluster = TestCluster::set().await;
    let mut controller = cluster.controller(settings(), "one");
    // Without a replica the policy is Ignore, so that no pod is refused.
    until(&mut controller.report, |it| it.policy.probe == ProbeStatus::NoEndpoints).await;
    assert_eq!(policy(&cluster), "Ignore");
    cluster.request("POST", "/api/v1/namespaces/apps/pods?dryRun=All", Some(&pod()));

    let (replica, _following) = cluster.replica().await;
    until(&mut replica.certificates(), |count| *count > 0).await;
    cluster.serve_at(replica.port());
    until(&mut controller.report, |it| it.policy.failure_policy == Some(FailurePolicy::Fail)).await;
    assert_eq!(policy(&cluster), "Fail");
    assert_eq!(cluster.events("image-swap-system", "FailurePolicyChanged").len(), 1);
    cluster.request("POST", "/api/v1/namespaces/apps/pods?dryRun=All", Some(&pod()));

    // The Endpoints still name the replica, but it does not respond, as in a broken network.
    replica.stop();
    until(&mut controller.report, |it| it.policy.failure_policy == Some(FailurePolicy::Ignore))
        .await;
    assert_eq!(policy(&cluster), "Ignore");
    cluster.request("POST", "/api/v1/namespaces/apps/pods?dryRun=All", Some(&pod()));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn first_answer_of_a_replica_earns_fail() {
    let cluster = TestCluster::set().await;
    let rarely = Intervals { probe: Duration::from_hours(1), ..intervals() };
    let mut controller = controller_by(&cluster.client, settings(), "one", rarely, now);
    until(&mut controller.report, |it| it.policy.probe == ProbeStatus::NoEndpoints).await;
    let (replica, _following) = cluster.replica().await;
    until(&mut replica.certificates(), |count| *count > 0).await;
    // A client may see an endpoint before the API server calls it.
    let silent = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = silent.local_addr().unwrap().port();
    drop(silent);
    cluster.serve_at(port);
    until(&mut controller.report, |it| it.policy.probe == ProbeStatus::Unreached).await;
    cluster.serve_at(replica.port());
    until(&mut controller.report, |it| it.policy.failure_policy == Some(FailurePolicy::Fail)).await;
}

// guarantee: 4a, 4b
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn new_pods_are_swapped_unless_exempt() {
    let cluster = TestCluster::set().await;
    let mut controller = cluster.controller(settings(), "one");
    let (replica, _following) = cluster.replica().await;
    cluster.serve_at(replica.port());
    until(&mut controller.report, |it| it.policy.failure_policy == Some(FailurePolicy::Fail)).await;
    cluster.declare(JET_SECRETS, "registry-info", &keys("h.example.org"));
    until(&mut replica.served(), |it| it.as_ref().is_some_and(|it| !it.hash.is_empty())).await;
    let pods = "/api/v1/namespaces/apps/pods";
    let image = |pod: &Value| pod["spec"]["containers"][0]["image"].clone();
    let stored = cluster.request("POST", pods, Some(&pod()));
    assert_eq!(image(&stored), "h.example.org/airgap/docker.io/library/nginx");
    let mut exempt_pod = pod();
    exempt_pod["metadata"]["labels"] = json!({ "image-swap.io/exempt": "true" });
    assert_eq!(image(&cluster.request("POST", pods, Some(&exempt_pod))), "nginx");
}

// guarantee: 4f
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn drift_is_repaired_and_what_others_add_stays() {
    let cluster = TestCluster::set().await;
    let mut controller = cluster.controller(settings(), "one");
    until(&mut controller.report, |it| it.policy.registered).await;
    let aks = json!({ "key": "control-plane", "operator": "DoesNotExist" });
    let mut object = registered(&cluster, |_| true).await;
    let path = "/webhooks/0/namespaceSelector/matchExpressions";
    object.pointer_mut(path).unwrap().as_array_mut().unwrap().push(aks.clone());
    object["webhooks"][0]["clientConfig"]["caBundle"] =
        object["webhooks"][1]["clientConfig"]["caBundle"].clone();
    object["webhooks"][0]["timeoutSeconds"] = 29.into();
    cluster.request("PUT", OURS, Some(&object));
    let repaired = registered(&cluster, |it| it["webhooks"][0]["timeoutSeconds"] == 5).await;
    assert!(repaired.pointer(path).unwrap().as_array().unwrap().contains(&aks));
    until(&mut controller.report, |it| it.repairs == 1).await;

    cluster.make_service();
    cluster.request("DELETE", OURS, None);
    registered(&cluster, |_| true).await;
    until(&mut controller.report, |it| it.repairs == 2).await;
}

// guarantee: 4e
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn lost_certificate_is_replaced_and_trusted() {
    let cluster = TestCluster::set().await;
    let mut controller = cluster.controller(settings(), "one");
    let (replica, _following) = cluster.replica().await;
    cluster.serve_at(replica.port());
    until(&mut controller.report, |it| it.policy.failure_policy == Some(FailurePolicy::Fail)).await;
    let before = *replica.certificates().borrow();

    // Authority and certificate are deleted: the controller creates and publishes new ones.
    cluster.request("DELETE", &format!("{SECRETS}/image-swap-ca"), None);
    cluster.request("DELETE", &format!("{SECRETS}/image-swap-tls"), None);
    until(&mut replica.certificates(), |count| *count > before).await;
    let leaf = cluster.get(&format!("{SECRETS}/image-swap-tls")).unwrap();
    let authority = leaf["data"]["ca.crt"].clone();
    registered(&cluster, |it| {
        it["webhooks"]
            .as_array()
            .unwrap()
            .iter()
            .all(|it| it["clientConfig"]["caBundle"] == authority)
    })
    .await;
    // The API server has read the new bundle once a pod is reviewed under `Fail`.
    let mut reached = controller.report.clone();
    until(&mut reached, |it| it.policy.probe == ProbeStatus::Reached && it.policy.failures == 0)
        .await;
}

// guarantee: 4d
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn leaving_release_stays_unregistered_until_rollback() {
    let cluster = TestCluster::set().await;
    let mut controller = cluster.controller(settings(), "one");
    until(&mut controller.report, |it| it.policy.registered).await;
    registered(&cluster, |_| true).await;
    // A hook may run twice.
    for _ in 0..2 {
        deregister(&cluster.client, &release()).await.unwrap();
        assert!(cluster.registration().is_none());
    }
    let anchor = format!("{ANCHORS}/image-swap");
    assert_eq!(
        cluster.get(&anchor).unwrap()["metadata"]["annotations"]["image-swap.io/leaving"],
        "true"
    );
    // A rollback removes the mark.
    let mut back = cluster.get(&anchor).unwrap();
    back["metadata"]["annotations"]["image-swap.io/leaving"] = "false".into();
    cluster.request("PUT", &anchor, Some(&back));
    registered(&cluster, |_| true).await;
    // Without the anchor, deregistration succeeds too.
    drop(controller);
    cluster.request("DELETE", &anchor, None);
    deregister(&cluster.client, &release()).await.unwrap();
    deregister(&cluster.client, &release()).await.unwrap();
}

/// Helm deletes its mark before the Service: a controller that looks late does not find it.
// guarantee: 4d
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn deleted_mark_keeps_the_release_unregistered() {
    let cluster = TestCluster::set().await;
    cluster.make_service();
    let mut controller = cluster.controller(settings(), "one");
    until(&mut controller.report, |it| it.policy.registered).await;
    let maps = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    let mark = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "image-swap-uninstall" },
    });
    cluster.request("POST", &maps, Some(&mark));
    cluster.request("DELETE", &format!("{maps}/image-swap-uninstall"), None);
    cluster.request("DELETE", OURS, None);
    until(&mut controller.report, |it| !it.policy.registered).await;
    assert!(cluster.registration().is_none());
}

/// A leader that begins after Helm deleted the registration knows from the report of the
/// previous one that the mark is not an ordinary object.
// guarantee: 4d
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn new_leader_registers_nothing_during_uninstallation() {
    let cluster = TestCluster::set().await;
    cluster.make_service();
    let maps = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    let mark = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "image-swap-uninstall" },
    });
    let path = format!("{maps}/image-swap-uninstall");
    // An ordinary object, as `helm template | kubectl apply` creates it.
    cluster.request("POST", &maps, Some(&mark));
    for identity in ["one", "two"] {
        let mut controller = cluster.controller(settings(), identity);
        until(&mut controller.report, |it| it.policy.registered && it.uninstall_mark.is_some())
            .await;
        drop(controller);
        cluster.request("DELETE", OURS, None);
    }
    // Helm replaces it, and deletes the registration, while no controller leads.
    cluster.request("DELETE", &path, None);
    cluster.request("POST", &maps, Some(&mark));
    let mut controller = cluster.controller(settings(), "three");
    let report = until(&mut controller.report, |it| !it.version.is_empty()).await;
    assert!(!report.policy.registered);
    assert!(cluster.registration().is_none());
}

// guarantee: 4d
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn dead_imageswap_is_adopted_and_live_one_audited() {
    let cluster = TestCluster::set().await;
    let path = format!("{REGISTRATIONS}/imageswap-webhook");
    let configuration = imageswap("image-swap-admission");
    // The Service of image-swap has an endpoint, so the webhook of the other program counts as
    // alive.
    let (replica, _following) = cluster.replica().await;
    cluster.serve_at(replica.port());
    cluster.request("POST", REGISTRATIONS, Some(&configuration));
    let mut controller = cluster.controller(settings(), "one");
    let report = until(&mut controller.report, |it| !it.foreign.is_empty()).await;
    assert!(report.foreign[0].alive);
    assert_eq!(report.policy.mode, Some(Mode::Audit));
    until(&mut replica.served(), |it| it.as_ref().is_some_and(|it| it.mode == Some(Mode::Audit)))
        .await;

    // The other webhook is dead now, and adoption is enabled.
    drop(controller);
    let mut dead = cluster.get(&path).unwrap();
    dead["webhooks"][0]["clientConfig"]["service"]["name"] = "gone".into();
    cluster.request("PUT", &path, Some(&dead));
    let mut adopting = settings();
    adopting.adopt = true;
    let mut controller = cluster.controller(adopting, "two");
    until(&mut controller.report, |it| {
        it.policy.mode == Some(Mode::Enforce) && it.foreign.is_empty()
    })
    .await;
    assert!(cluster.get(&path).is_none());
    until(&mut replica.served(), |it| it.as_ref().is_some_and(|it| it.mode == Some(Mode::Enforce)))
        .await;
}

/// Another writer changes the policy as often as the controller repairs it. Repairs are counted and
/// limited for each field.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn repairs_of_the_failure_policy_are_counted() {
    let cluster = TestCluster::set().await;
    let mut controller = cluster.controller(settings(), "one");
    let (replica, _following) = cluster.replica().await;
    cluster.serve_at(replica.port());
    until(&mut controller.report, |it| it.policy.failure_policy == Some(FailurePolicy::Fail)).await;
    let ignoring = |cluster: &TestCluster| {
        let mut object = cluster.registration().unwrap();
        let entries = object["webhooks"].as_array_mut().unwrap();
        let mut pods = entries.iter_mut().filter(|it| it["name"] == "pods.image-swap.io");
        pods.next().unwrap()["failurePolicy"] = "Ignore".into();
        object
    };
    // The sixth repair waits until ten seconds after the first.
    for count in 1..=6 {
        eventually(|| (policy(&cluster) == "Fail").then_some(())).await;
        cluster.request("PUT", OURS, Some(&ignoring(&cluster)));
        until(&mut controller.report, |it| it.repairs == count).await;
    }
    eventually(|| (policy(&cluster) == "Fail").then_some(())).await;
    let generation = cluster.registration().unwrap()["metadata"]["generation"].as_u64().unwrap();
    // The registration was created, raised to `Fail`, and changed and repaired six times.
    assert_eq!(generation, 2 + 6 * 2);
    // Decisions are published as Events, but repairs are not.
    assert_eq!(cluster.events("image-swap-system", "FailurePolicyChanged").len(), 1);
}

/// Returns a registration of imageswap for `service` in the release's namespace.
pub(crate) fn imageswap(service: &str) -> Value {
    webhook_configuration("image-swap-system", service, "*", "*")
}

fn policy(cluster: &TestCluster) -> String {
    let object = cluster.registration().unwrap();
    let entries = object["webhooks"].as_array().unwrap().iter();
    let mut pods = entries.filter(|it| it["name"] == "pods.image-swap.io");
    pods.next().unwrap()["failurePolicy"].as_str().unwrap().to_owned()
}

/// Waits until the registration exists and satisfies `enough`, and returns it.
async fn registered(cluster: &TestCluster, enough: impl Fn(&Value) -> bool) -> Value {
    eventually(|| cluster.registration().filter(|it| enough(it))).await
}
