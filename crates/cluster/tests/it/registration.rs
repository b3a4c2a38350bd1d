//! The webhook configuration: registered, earned, repaired, left.

use std::{
    net::{Ipv4Addr, TcpListener},
    time::Duration,
};

use image_swap_cluster::{Intervals, leave};
use image_swap_core::{admission::Mode, cluster::policy::Policy, status::ProbeStatus};
use serde_json::{Value, json};

use crate::stage::{
    ANCHORS, JET_SECRETS, NAMESPACE, REGISTRATIONS, SECRETS, Stage, controller_by, eventually,
    intervals, keys, now, pod, release, settings, until,
};

const OURS: &str =
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/image-swap-admission";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn fail_is_earned_by_the_api_server_reaching_us_and_taken_back_when_it_no_longer_does() {
    let stage = Stage::set().await;
    let mut controller = stage.controller(settings(), "one");
    // Registered before anybody answers: nobody is refused.
    until(&mut controller.report, |it| it.policy.probe == ProbeStatus::NoEndpoints).await;
    assert_eq!(policy(&stage), "Ignore");
    stage.request("POST", "/api/v1/namespaces/apps/pods?dryRun=All", Some(&pod()));

    let (replica, _following) = stage.replica().await;
    until(&mut replica.certificates(), |count| *count > 0).await;
    stage.serve_at(replica.port());
    until(&mut controller.report, |it| it.policy.failure_policy == Some(Policy::Fail)).await;
    assert_eq!(policy(&stage), "Fail");
    assert_eq!(stage.events("image-swap-system", "FailurePolicyChanged").len(), 1);
    stage.request("POST", "/api/v1/namespaces/apps/pods?dryRun=All", Some(&pod()));

    // Endpoints say that it is there, and nobody answers: a broken network.
    replica.stop();
    until(&mut controller.report, |it| it.policy.failure_policy == Some(Policy::Ignore)).await;
    assert_eq!(policy(&stage), "Ignore");
    stage.request("POST", "/api/v1/namespaces/apps/pods?dryRun=All", Some(&pod()));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn fail_is_earned_as_soon_as_a_replica_answers_however_rarely_probes_are_made_later() {
    let stage = Stage::set().await;
    let rarely = Intervals { probe: Duration::from_hours(1), ..intervals() };
    let mut controller = controller_by(&stage.client, settings(), "one", rarely, now);
    until(&mut controller.report, |it| it.policy.probe == ProbeStatus::NoEndpoints).await;
    let (replica, _following) = stage.replica().await;
    until(&mut replica.certificates(), |count| *count > 0).await;
    // A client may see an endpoint before the API server calls it.
    let silent = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = silent.local_addr().unwrap().port();
    drop(silent);
    stage.serve_at(port);
    until(&mut controller.report, |it| it.policy.probe == ProbeStatus::Unreached).await;
    stage.serve_at(replica.port());
    until(&mut controller.report, |it| it.policy.failure_policy == Some(Policy::Fail)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn a_new_pod_is_stored_with_swapped_images_and_one_of_ours_as_it_is() {
    let stage = Stage::set().await;
    let mut controller = stage.controller(settings(), "one");
    let (replica, _following) = stage.replica().await;
    stage.serve_at(replica.port());
    until(&mut controller.report, |it| it.policy.failure_policy == Some(Policy::Fail)).await;
    stage.declare(JET_SECRETS, "registry-info", &keys("h.example.org"));
    until(&mut replica.served(), |it| it.as_ref().is_some_and(|it| !it.hash.is_empty())).await;
    let pods = "/api/v1/namespaces/apps/pods";
    let image = |pod: &Value| pod["spec"]["containers"][0]["image"].clone();
    let stored = stage.request("POST", pods, Some(&pod()));
    assert_eq!(image(&stored), "h.example.org/airgap/docker.io/library/nginx");
    let mut ours = pod();
    ours["metadata"]["labels"] = json!({ "image-swap.io/exempt": "true" });
    assert_eq!(image(&stage.request("POST", pods, Some(&ours))), "nginx");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn drift_is_repaired_and_what_others_add_stays() {
    let stage = Stage::set().await;
    let mut controller = stage.controller(settings(), "one");
    until(&mut controller.report, |it| it.policy.registered).await;
    let aks = json!({ "key": "control-plane", "operator": "DoesNotExist" });
    let mut object = registered(&stage, |_| true).await;
    let path = "/webhooks/0/namespaceSelector/matchExpressions";
    object.pointer_mut(path).unwrap().as_array_mut().unwrap().push(aks.clone());
    object["webhooks"][0]["clientConfig"]["caBundle"] =
        object["webhooks"][1]["clientConfig"]["caBundle"].clone();
    object["webhooks"][0]["timeoutSeconds"] = 29.into();
    stage.request("PUT", OURS, Some(&object));
    let repaired = registered(&stage, |it| it["webhooks"][0]["timeoutSeconds"] == 5).await;
    assert!(repaired.pointer(path).unwrap().as_array().unwrap().contains(&aks));
    until(&mut controller.report, |it| it.repairs == 1).await;

    stage.make_service();
    stage.request("DELETE", OURS, None);
    registered(&stage, |_| true).await;
    until(&mut controller.report, |it| it.repairs == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn a_certificate_that_is_lost_or_unfit_is_replaced_and_api_servers_trust_it() {
    let stage = Stage::set().await;
    let mut controller = stage.controller(settings(), "one");
    let (replica, _following) = stage.replica().await;
    stage.serve_at(replica.port());
    until(&mut controller.report, |it| it.policy.failure_policy == Some(Policy::Fail)).await;
    let before = *replica.certificates().borrow();

    // Authority and certificate are gone: both are made anew, and published.
    stage.request("DELETE", &format!("{SECRETS}/image-swap-ca"), None);
    stage.request("DELETE", &format!("{SECRETS}/image-swap-tls"), None);
    until(&mut replica.certificates(), |count| *count > before).await;
    let leaf = stage.get(&format!("{SECRETS}/image-swap-tls")).unwrap();
    let authority = leaf["data"]["ca.crt"].clone();
    registered(&stage, |it| {
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

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn a_release_that_leaves_is_not_registered_again_until_it_is_back() {
    let stage = Stage::set().await;
    let mut controller = stage.controller(settings(), "one");
    until(&mut controller.report, |it| it.policy.registered).await;
    registered(&stage, |_| true).await;
    // Twice: a hook may be run again.
    for _ in 0..2 {
        leave(&stage.client, &release()).await.unwrap();
        assert!(stage.registration().is_none());
    }
    let anchor = format!("{ANCHORS}/image-swap");
    assert_eq!(
        stage.get(&anchor).unwrap()["metadata"]["annotations"]["image-swap.io/leaving"],
        "true"
    );
    // A rollback takes the mark back.
    let mut back = stage.get(&anchor).unwrap();
    back["metadata"]["annotations"]["image-swap.io/leaving"] = "false".into();
    stage.request("PUT", &anchor, Some(&back));
    registered(&stage, |_| true).await;
    // Gone altogether: that is fine too.
    drop(controller);
    stage.request("DELETE", &anchor, None);
    leave(&stage.client, &release()).await.unwrap();
    leave(&stage.client, &release()).await.unwrap();
}

/// Helm deletes its mark before the Service: a controller that looks late does not find it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn deleted_mark_keeps_the_release_unregistered() {
    let stage = Stage::set().await;
    stage.make_service();
    let mut controller = stage.controller(settings(), "one");
    until(&mut controller.report, |it| it.policy.registered).await;
    let maps = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    let mark = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "image-swap-uninstall" },
    });
    stage.request("POST", &maps, Some(&mark));
    stage.request("DELETE", &format!("{maps}/image-swap-uninstall"), None);
    stage.request("DELETE", OURS, None);
    until(&mut controller.report, |it| !it.policy.registered).await;
    assert!(stage.registration().is_none());
}

/// A leader that begins after Helm deleted the registration knows from the report of the
/// previous one that the mark is not an ordinary object.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn new_leader_registers_nothing_during_uninstallation() {
    let stage = Stage::set().await;
    stage.make_service();
    let maps = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    let mark = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "image-swap-uninstall" },
    });
    let path = format!("{maps}/image-swap-uninstall");
    // An ordinary object, as `helm template | kubectl apply` creates it.
    stage.request("POST", &maps, Some(&mark));
    for identity in ["one", "two"] {
        let mut controller = stage.controller(settings(), identity);
        until(&mut controller.report, |it| it.policy.registered && it.uninstall_mark.is_some())
            .await;
        drop(controller);
        stage.request("DELETE", OURS, None);
    }
    // Helm replaces it, and deletes the registration, while no controller leads.
    stage.request("DELETE", &path, None);
    stage.request("POST", &maps, Some(&mark));
    let mut controller = stage.controller(settings(), "three");
    let report = until(&mut controller.report, |it| !it.version.is_empty()).await;
    assert!(!report.policy.registered);
    assert!(stage.registration().is_none());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn a_dead_imageswap_is_removed_when_adopted_and_a_live_one_keeps_us_in_audit() {
    let stage = Stage::set().await;
    let theirs = format!("{REGISTRATIONS}/imageswap-webhook");
    let configuration = imageswap("image-swap-admission");
    // Our own Service stands for a live one: it has an endpoint.
    let (replica, _following) = stage.replica().await;
    stage.serve_at(replica.port());
    stage.request("POST", REGISTRATIONS, Some(&configuration));
    let mut controller = stage.controller(settings(), "one");
    let report = until(&mut controller.report, |it| !it.foreign.is_empty()).await;
    assert!(report.foreign[0].alive);
    assert_eq!(report.policy.mode, Some(Mode::Audit));
    until(&mut replica.served(), |it| it.as_ref().is_some_and(|it| it.mode == Some(Mode::Audit)))
        .await;

    // Dead, and we were told to adopt.
    drop(controller);
    let mut dead = stage.get(&theirs).unwrap();
    dead["webhooks"][0]["clientConfig"]["service"]["name"] = "gone".into();
    stage.request("PUT", &theirs, Some(&dead));
    let mut adopting = settings();
    adopting.adopt = true;
    let mut controller = stage.controller(adopting, "two");
    until(&mut controller.report, |it| {
        it.policy.mode == Some(Mode::Enforce) && it.foreign.is_empty()
    })
    .await;
    assert!(stage.get(&theirs).is_none());
    until(&mut replica.served(), |it| it.as_ref().is_some_and(|it| it.mode == Some(Mode::Enforce)))
        .await;
}

/// Two writers that each insist: repairs are counted and paced, whatever the field.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn repairs_of_the_failure_policy_are_counted() {
    let stage = Stage::set().await;
    let mut controller = stage.controller(settings(), "one");
    let (replica, _following) = stage.replica().await;
    stage.serve_at(replica.port());
    until(&mut controller.report, |it| it.policy.failure_policy == Some(Policy::Fail)).await;
    let ignoring = |stage: &Stage| {
        let mut object = stage.registration().unwrap();
        let entries = object["webhooks"].as_array_mut().unwrap();
        let mut pods = entries.iter_mut().filter(|it| it["name"] == "pods.image-swap.io");
        pods.next().unwrap()["failurePolicy"] = "Ignore".into();
        object
    };
    // The sixth repair waits until ten seconds after the first.
    for count in 1..=6 {
        eventually(|| (policy(&stage) == "Fail").then_some(())).await;
        stage.request("PUT", OURS, Some(&ignoring(&stage)));
        until(&mut controller.report, |it| it.repairs == count).await;
    }
    eventually(|| (policy(&stage) == "Fail").then_some(())).await;
    let generation = stage.registration().unwrap()["metadata"]["generation"].as_u64().unwrap();
    // Made, raised, and changed and repaired six times.
    assert_eq!(generation, 2 + 6 * 2);
    // An Event tells of decisions, not of repairs.
    assert_eq!(stage.events("image-swap-system", "FailurePolicyChanged").len(), 1);
}

/// The registration of upstream's program, for a Service in our namespace.
pub(crate) fn imageswap(service: &str) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": { "name": "imageswap-webhook" },
        "webhooks": [{
            "name": "imageswap.webhook.k8s.twr.io",
            "admissionReviewVersions": ["v1"],
            "clientConfig": { "service": { "namespace": "image-swap-system", "name": service } },
            "failurePolicy": "Ignore",
            "rules": [{
                "apiGroups": ["*"], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["pods"],
            }],
            "sideEffects": "None",
        }],
    })
}

fn policy(stage: &Stage) -> String {
    let object = stage.registration().unwrap();
    let entries = object["webhooks"].as_array().unwrap().iter();
    let mut pods = entries.filter(|it| it["name"] == "pods.image-swap.io");
    pods.next().unwrap()["failurePolicy"].as_str().unwrap().to_owned()
}

/// The configuration, once it is there and `enough`.
async fn registered(stage: &Stage, enough: impl Fn(&Value) -> bool) -> Value {
    eventually(|| stage.registration().filter(|it| enough(it))).await
}
