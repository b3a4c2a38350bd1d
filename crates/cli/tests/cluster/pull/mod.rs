//! A workload cluster that pulls its declaration from the management cluster.

mod documents;
mod expiry;
mod fleet;
mod orders;
mod removal;
mod writers;

use std::time::Duration;

use hyper::Request;
use image_swap_core::status::ControllerReport;
use kube::Client;
use serde_json::{Value, json};

use self::fleet::{CLUSTERS, HUB_SECRET, PullFleet, REGISTRY_INFO, apply, text};
use crate::test_cluster::{eventually, now, until};

const COPY: &str = "/api/v1/namespaces/clusters/secrets/edge.declaration";

/// Returns the reason why the pull fails; `None` if it does not.
fn problem(report: &ControllerReport) -> Option<&str> {
    report.failing.iter().find(|it| it.name == "hub").map(|it| it.error.as_str())
}

/// Returns the condition `kind` of a status; null if it is absent.
fn condition<'s>(status: &'s Value, kind: &str) -> &'s Value {
    let mut all = status["conditions"].as_array().into_iter().flatten();
    all.find(|it| it["type"] == kind).unwrap_or(&Value::Null)
}

/// Returns the status of the response to a request.
async fn status(client: &Client, method: &str, path: &str, body: &Value) -> u16 {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(body.to_string().into_bytes())
        .unwrap();
    match client.request_text(request).await {
        Ok(_) => 200,
        Err(kube::Error::Api(status)) => status.code,
        Err(error) => panic!("{method} {path}: {error}"),
    }
}

// guarantee: 6b
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn cluster_pulls_its_declaration_and_nothing_else() {
    let fleet = PullFleet::start().await;
    let manifest = fleet.enroll();
    apply(fleet.workload(), &manifest);
    fleet.declared(1, "one").await;
    let (mut report, _controller) = fleet.controller().await;

    // A declaration arrives, and the management cluster sees it.
    fleet.declare(2, "two");
    fleet.declared(2, "two").await;
    let seen = fleet.reported(|it| it["appliedRevision"] == 2).await;
    assert_eq!(condition(&seen["status"], "Applied")["status"], "True", "{seen}");
    assert_eq!(condition(&seen["status"], "Reachable")["reason"], "NotConnected", "{seen}");
    assert_eq!(seen["status"]["clusterUid"], fleet.workload().uid().unwrap());
    assert_eq!(seen["metadata"]["ownerReferences"][0]["name"], "edge.declaration");
    until(&mut report, |it| problem(it).is_none()).await;
    // A changed number of pods does not wait for the next heartbeat.
    fleet.reported(|it| it["podsNotFromMirror"] == 0).await;
    fleet.run_pod("ghcr.io/a/b");
    fleet.reported(|it| it["podsNotFromMirror"] == 1).await;

    // The token permits nothing else.
    let client = fleet.as_workload().await;
    let none = Value::Null;
    let own = json!({ "spec": { "expirationSeconds": 600 } });
    for (method, path, body, expected) in [
        ("GET", COPY, &none, 200),
        ("GET", "/api/v1/namespaces/clusters/secrets", &none, 403),
        ("GET", "/api/v1/secrets", &none, 403),
        ("GET", "/api/v1/namespaces/clusters/secrets/other", &none, 403),
        ("GET", "/api/v1/namespaces/image-swap/secrets/image-swap-last-good", &none, 403),
        ("PUT", COPY, &none, 403),
        ("DELETE", COPY, &none, 403),
        ("POST", "/api/v1/namespaces/clusters/serviceaccounts/default/token", &own, 403),
        (
            "POST",
            "/api/v1/namespaces/clusters/serviceaccounts/image-swap-pull-edge/token",
            &own,
            200,
        ),
        ("GET", "/apis/image-swap.io/v1alpha1/namespaces/clusters/workloadclusters", &none, 403),
        (
            "DELETE",
            "/apis/coordination.k8s.io/v1/namespaces/clusters/leases/edge.heartbeat",
            &none,
            403,
        ),
    ] {
        assert_eq!(status(&client, method, path, body).await, expected, "{method} {path}");
    }

    // The token is renewed after half of its life.
    let before = text(&fleet.get(HUB_SECRET).unwrap(), "token");
    let old = json!({ "stringData": { "issued": (now() - 90_000).to_string(), "expires": now().to_string() } });
    PullFleet::patch(fleet.workload(), HUB_SECRET, &old);
    let renewed = |secret: &Value| text(secret, "token") != before;
    let secret = eventually(|| fleet.get(HUB_SECRET).filter(renewed)).await;
    let expires: u64 = text(&secret, "expires").parse().unwrap();
    assert!(expires > now() + 80_000, "{expires}");
    fleet.declare(3, "three");
    fleet.declared(3, "three").await;

    // A bad copy changes nothing.
    let bad = json!({ "stringData": { "declaration": "hunter2" } });
    PullFleet::patch(&fleet.planes.hub, COPY, &bad);
    let is_invalid = |it: &ControllerReport| problem(it).is_some_and(|it| it.contains("invalid"));
    until(&mut report, is_invalid).await;
    fleet.declared(3, "three").await;
    fleet.declare(4, "four");
    fleet.declared(4, "four").await;
    until(&mut report, |it| problem(it).is_none()).await;

    // No output has the token.
    let token = text(&fleet.get(HUB_SECRET).unwrap(), "token");
    let events = fleet.get("/apis/events.k8s.io/v1/events").unwrap();
    let shown = [serde_json::to_string(&*report.borrow()).unwrap(), events.to_string()];
    for text in shown.iter().chain(&[fleet.report().unwrap().to_string()]) {
        assert!(!text.contains(&token) && !text.contains(&before), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn refused_cluster_keeps_its_declaration_until_another_enrolment() {
    let fleet = PullFleet::start().await;
    // An imported cluster has its name already.
    let imported = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {
            "name": "taken", "namespace": CLUSTERS,
            "labels": { "image-swap.io/fleet-cluster": "enabled" },
        },
        "stringData": { "kubeconfig": "{}" },
    });
    apply(&fleet.planes.hub, &imported.to_string());
    eventually(|| fleet.report_of("taken.kubeconfig")).await;
    for (name, namespace, expected) in [
        ("edge", "other", "fleet.namespaces"),
        ("Edge", CLUSTERS, "lower-case"),
        ("taken", CLUSTERS, "in use by Secret clusters/taken"),
    ] {
        let ran = fleet.run(&["fleet", "enroll", name, "--namespace", namespace]);
        let message = String::from_utf8(ran.stderr).unwrap();
        assert_eq!((ran.status.code(), ran.stdout.len()), (Some(2), 0), "{message}");
        assert!(message.contains(expected), "{message}");
    }
    apply(fleet.workload(), &fleet.enroll());
    let controller = fleet.controller().await;
    fleet.declare(2, "two");
    fleet.declared(2, "two").await;
    let (mut report, controller) = expiry::expire(&fleet, controller, (3, "three")).await;
    let client = fleet.as_workload().await;

    let ran = fleet.run(&["fleet", "revoke", "edge", "--namespace", CLUSTERS]);
    let deleted = String::from_utf8(ran.stdout).unwrap();
    assert!(ran.status.success(), "{deleted}");
    let lines: Vec<&str> = deleted.lines().collect();
    assert_eq!(lines.len(), 7, "{deleted}");
    assert_eq!(lines[0], "deleted ServiceAccount clusters/image-swap-pull-edge");
    assert_eq!(lines[6], "deleted Secret clusters/edge.declaration");
    let ran = fleet.run(&["fleet", "revoke", "edge", "--namespace", CLUSTERS]);
    assert!(ran.status.success());
    assert_eq!(ran.stdout, b"clusters/edge is not enrolled\n");
    let refused = async || [401, 403].contains(&status(&client, "GET", COPY, &Value::Null).await);
    let ended = async {
        while !refused().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), ended).await.unwrap();

    // The cluster reports it, and keeps its declaration.
    let is_revoked =
        |it: &ControllerReport| problem(it).is_some_and(|it| it.contains("was revoked"));
    until(&mut report, is_revoked).await;
    fleet.declared(3, "three").await;
    eventually(|| fleet.report().is_none().then_some(())).await;

    // Another enrolment continues.
    fleet.declare(4, "four");
    let manifest = fleet.enroll();
    apply(fleet.workload(), &manifest);
    fleet.declared(4, "four").await;
    until(&mut report, |it| problem(it).is_none()).await;
    fleet.declare(5, "five");
    fleet.declared(5, "five").await;
    fleet.reported(|it| it["appliedRevision"] == 5).await;

    // A deleted registry-info returns with the next declaration.
    fleet.workload().request("DELETE", REGISTRY_INFO, None).unwrap();
    fleet.declare(6, "six");
    fleet.declared(6, "six").await;

    documents::secrets_are_listed(&fleet).await;
    drop(controller);
    removal::remove(&fleet, &manifest).await;
    documents::rights_suffice(&fleet);
    documents::enrolments_end(&fleet);
}
