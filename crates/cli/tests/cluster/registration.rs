//! The webhook configuration: registered, earned, repaired, left.

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
async fn fail_is_earned_by_the_api_server_reaching_us_and_taken_back_when_it_no_longer_does() {
    let cluster = TestCluster::set().await;
    let mut controller = cluster.controller(settings(), "one");
    // Registered before anybody answers: nobody is refused.
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

    // Endpoints say that it is there, and nobody answers: a broken network.
    replica.stop();
    until(&mut controller.report, |it| it.policy.failure_policy == Some(FailurePolicy::Ignore))
        .await;
    assert_eq!(policy(&cluster), "Ignore");
    cluster.request("POST", "/api/v1/namespaces/apps/pods?dryRun=All", Some(&pod()));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn fail_is_earned_as_soon_as_a_replica_answers_however_rarely_probes_are_made_later() {
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
async fn a_new_pod_is_stored_with_swapped_images_and_one_of_ours_as_it_is() {
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
    let mut ours = pod();
    ours["metadata"]["labels"] = json!({ "image-swap.io/exempt": "true" });
    assert_eq!(image(&cluster.request("POST", pods, Some(&ours))), "nginx");
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
async fn a_certificate_that_is_lost_or_unfit_is_replaced_and_api_servers_trust_it() {
    let cluster = TestCluster::set().await;
    let mut controller = cluster.controller(settings(), "one");
    let (replica, _following) = cluster.replica().await;
    cluster.serve_at(replica.port());
    until(&mut controller.report, |it| it.policy.failure_policy == Some(FailurePolicy::Fail)).await;
    let before = *replica.certificates().borrow();

    // Authority and certificate are gone: both are made anew, and published.
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
    // The API server has read it when a pod is reviewed under `Fail`.
    let mut reached = controller.report.clone();
    until(&mut reached, |it| it.policy.probe == ProbeStatus::Reached && it.policy.failures == 0)
        .await;
}

// guarantee: 4d
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn a_release_that_leaves_is_not_registered_again_until_it_is_back() {
    let cluster = TestCluster::set().await;
    let mut controller = cluster.controller(settings(), "one");
    until(&mut controller.report, |it| it.policy.registered).await;
    registered(&cluster, |_| true).await;
    // Twice: a hook may be run again.
    for _ in 0..2 {
        deregister(&cluster.client, &release()).await.unwrap();
        assert!(cluster.registration().is_none());
    }
    let anchor = format!("{ANCHORS}/image-swap");
    assert_eq!(
        cluster.get(&anchor).unwrap()["metadata"]["annotations"]["image-swap.io/leaving"],
        "true"
    );
    // A rollback takes the mark back.
    let mut back = cluster.get(&anchor).unwrap();
    back["metadata"]["annotations"]["image-swap.io/leaving"] = "false".into();
    cluster.request("PUT", &anchor, Some(&back));
    registered(&cluster, |_| true).await;
    // Gone altogether: that is fine too.
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
async fn a_dead_imageswap_is_removed_when_adopted_and_a_live_one_keeps_us_in_audit() {
    let cluster = TestCluster::set().await;
    let theirs = format!("{REGISTRATIONS}/imageswap-webhook");
    let configuration = imageswap("image-swap-admission");
    // Our own Service stands for a live one: it has an endpoint.
    let (replica, _following) = cluster.replica().await;
    cluster.serve_at(replica.port());
    cluster.request("POST", REGISTRATIONS, Some(&configuration));
    let mut controller = cluster.controller(settings(), "one");
    let report = until(&mut controller.report, |it| !it.foreign.is_empty()).await;
    assert!(report.foreign[0].alive);
    assert_eq!(report.policy.mode, Some(Mode::Audit));
    until(&mut replica.served(), |it| it.as_ref().is_some_and(|it| it.mode == Some(Mode::Audit)))
        .await;

    // Dead, and we were told to adopt.
    drop(controller);
    let mut dead = cluster.get(&theirs).unwrap();
    dead["webhooks"][0]["clientConfig"]["service"]["name"] = "gone".into();
    cluster.request("PUT", &theirs, Some(&dead));
    let mut adopting = settings();
    adopting.adopt = true;
    let mut controller = cluster.controller(adopting, "two");
    until(&mut controller.report, |it| {
        it.policy.mode == Some(Mode::Enforce) && it.foreign.is_empty()
    })
    .await;
    assert!(cluster.get(&theirs).is_none());
    until(&mut replica.served(), |it| it.as_ref().is_some_and(|it| it.mode == Some(Mode::Enforce)))
        .await;
}

/// Two writers that each insist: repairs are counted and paced, whatever the field.
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
    // Made, raised, and changed and repaired six times.
    assert_eq!(generation, 2 + 6 * 2);
    // An Event tells of decisions, not of repairs.
    assert_eq!(cluster.events("image-swap-system", "FailurePolicyChanged").len(), 1);
}

/// The registration of upstream's program, for a Service in our namespace.
pub(crate) fn imageswap(service: &str) -> Value {
    webhook_configuration("image-swap-system", service, "*", "*")
}

fn policy(cluster: &TestCluster) -> String {
    let object = cluster.registration().unwrap();
    let entries = object["webhooks"].as_array().unwrap().iter();
    let mut pods = entries.filter(|it| it["name"] == "pods.image-swap.io");
    pods.next().unwrap()["failurePolicy"].as_str().unwrap().to_owned()
}

/// The configuration, once it is there and `enough`.
async fn registered(cluster: &TestCluster, enough: impl Fn(&Value) -> bool) -> Value {
    eventually(|| cluster.registration().filter(|it| enough(it))).await
}
