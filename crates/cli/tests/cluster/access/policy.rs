//! The chart's `ValidatingAdmissionPolicy` for the release's own service accounts.

use hyper::Request;
use image_swap_core::control::policy::FailurePolicy;
use kube::Client;
use serde_json::{Value, json};

use super::VALUES;
use crate::{
    install::{Account, Installed},
    test_cluster::{
        NAMESPACE, REGISTRATIONS, TestCluster, controller_by, eventually, intervals, now, settings,
        until,
    },
};

pub(super) const MERGE: &str = "application/merge-patch+json";
pub(super) const JSON_PATCH: &str = "application/json-patch+json";

fn own() -> String {
    format!("{REGISTRATIONS}/image-swap-admission")
}

/// Returns a webhook for `resource` with the client configuration `client`.
fn webhook(name: &str, resource: &str, client: &Value) -> Value {
    json!({
        "name": name, "admissionReviewVersions": ["v1"], "sideEffects": "None",
        "failurePolicy": "Ignore", "clientConfig": client,
        "rules": [{
            "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
            "resources": [resource],
        }],
    })
}

fn own_service() -> Value {
    json!({ "service": { "namespace": NAMESPACE, "name": "image-swap-admission", "path": "/mutate" } })
}

/// Sends a request. Returns the status, and the message of a refusal.
pub(super) async fn send(
    client: &Client,
    method: &str,
    path: &str,
    kind: &str,
    body: &Value,
) -> (u16, String) {
    let request = Request::builder().method(method).uri(path).header("content-type", kind);
    let request = request.body(body.to_string().into_bytes()).unwrap();
    match client.request_text(request).await {
        Ok(_) => (200, String::new()),
        Err(kube::Error::Api(status)) => (status.code, status.message.clone()),
        Err(error) => panic!("{method} {path}: {error}"),
    }
}

/// Changes that would make more of the registration than image-swap needs.
fn escalations(registered: &Value) -> Vec<(&'static str, Value)> {
    let url = json!({ "url": "https://192.0.2.1:9443/" });
    let other = json!({ "service": { "namespace": "apps", "name": "image-swap-admission" } });
    let renamed = json!({ "service": { "namespace": NAMESPACE, "name": "other" } });
    let add = |entry: Value| json!([{ "op": "add", "path": "/webhooks/-", "value": entry }]);
    let replace = |path: &str, value: Value| json!([{ "op": "replace", "path": format!("/webhooks/0/{path}"), "value": value }]);
    let probe = registered["webhooks"].as_array().unwrap();
    let probe = probe.iter().position(|it| it["name"] == "probe.image-swap.io").unwrap();
    let of_probe = |path: &str, value: Value| json!([{ "op": "replace", "path": format!("/webhooks/{probe}/{path}"), "value": value }]);
    vec![
        ("a URL for Secrets", add(webhook("x.evil.io", "secrets", &url))),
        ("its Service for Secrets", add(webhook("x.image-swap.io", "secrets", &own_service()))),
        ("its Service for everything", add(webhook("x.image-swap.io", "*/*", &own_service()))),
        ("a URL for pods", add(webhook("x.image-swap.io", "pods", &url))),
        ("another namespace", add(webhook("x.image-swap.io", "pods", &other))),
        ("another Service", add(webhook("x.image-swap.io", "pods", &renamed))),
        ("all configmaps", add(webhook("x.image-swap.io", "configmaps", &own_service()))),
        ("an entry that leads elsewhere", replace("clientConfig", url)),
        ("an entry for more", replace("rules/0/resources", json!(["pods", "secrets"]))),
        ("another group", replace("rules/0/apiGroups", json!(["apps"]))),
        ("every group", replace("rules/0/apiGroups", json!(["*"]))),
        ("a probe of any configmap", of_probe("objectSelector", json!({}))),
        ("a probe of updates", of_probe("rules/0/operations", json!(["CREATE", "UPDATE"]))),
    ]
}

/// Waits until the API server enforces the policy.
async fn wait_enforced(client: &Client) {
    let url = json!({ "url": "https://192.0.2.1:9443/" });
    let patch = json!({ "webhooks": [webhook("x.evil.io", "secrets", &url)] });
    let dry = format!("{}?dryRun=All", own());
    let began = std::time::Instant::now();
    while send(client, "PATCH", &dry, MERGE, &patch).await.0 == 200 {
        assert!(began.elapsed().as_secs() < 120, "the policy should be enforced by now");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn policy_holds_own_accounts_to_pods_and_service() {
    let installed = Installed::with(VALUES).await;
    let cluster = &installed.cluster;
    let client = installed.client_as(Account::Controller).await;
    let mut controller = controller_by(&client, settings(), "one", intervals(), now);
    until(&mut controller.report, |it| it.policy.registered).await;
    drop(controller);
    wait_enforced(&client).await;
    let before = cluster.registration().unwrap();
    for (what, patch) in escalations(&before) {
        let (status, message) = send(&client, "PATCH", &own(), JSON_PATCH, &patch).await;
        assert_eq!(status, 422, "{what}: {message}");
        assert!(message.contains("image-swap-registration"), "{what}: {message}");
    }
    assert_eq!(cluster.registration().unwrap(), before);

    // The API server refuses the same webhooks in a new object.
    let url = json!({ "url": "https://192.0.2.1:9443/" });
    let evil = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": { "name": "image-swap-admission" },
        "webhooks": [webhook("x.evil.io", "secrets", &url)],
    });
    cluster.request("DELETE", &own(), None);
    let apply = format!("{}?fieldManager=thief&force=true", own());
    let (status, message) =
        send(&client, "PATCH", &apply, "application/apply-patch+yaml", &evil).await;
    assert_eq!(status, 422, "{message}");
    assert!(cluster.registration().is_none());
}

/// Returns the entry of a registration.
fn entry(cluster: &TestCluster, name: &str) -> Option<Value> {
    let registered = cluster.registration()?;
    registered["webhooks"].as_array()?.iter().find(|it| it["name"] == name).cloned()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn policy_hinders_neither_controller_nor_administrator() {
    let installed = Installed::with(VALUES).await;
    let cluster = &installed.cluster;
    let client = installed.client_as(Account::Controller).await;
    let mut controller = controller_by(&client, settings(), "one", intervals(), now);
    let (replica, _following) = cluster.replica().await;
    cluster.serve_at(replica.port());
    until(&mut controller.report, |it| it.policy.failure_policy == Some(FailurePolicy::Fail)).await;
    wait_enforced(&client).await;

    // The registration is created again, and raised to `Fail`.
    cluster.request("DELETE", &own(), None);
    let fails = |cluster: &TestCluster| {
        entry(cluster, "pods.image-swap.io").filter(|it| it["failurePolicy"] == "Fail")
    };
    eventually(|| fails(cluster)).await;

    // An administrator adds a selector, and an entry that the accounts may not add.
    let url = json!({ "url": "https://192.0.2.1:9443/" });
    let mut registered = cluster.registration().unwrap();
    let entries = registered["webhooks"].as_array_mut().unwrap();
    entries.push(webhook("x.example.org", "secrets", &url));
    let selector = &mut entries[0]["namespaceSelector"]["matchExpressions"];
    let added = json!({ "key": "control-plane", "operator": "DoesNotExist" });
    selector.as_array_mut().unwrap().push(added.clone());
    cluster.request("PATCH", &own(), Some(&json!({ "webhooks": registered["webhooks"] })));

    // The controller repairs its own entries and keeps the added one.
    let mut changed = cluster.registration().unwrap();
    changed["webhooks"][0]["timeoutSeconds"] = 29.into();
    changed["webhooks"][0]["failurePolicy"] = "Ignore".into();
    cluster.request("PATCH", &own(), Some(&json!({ "webhooks": changed["webhooks"] })));
    eventually(|| fails(cluster).filter(|it| it["timeoutSeconds"] == 5)).await;
    let pods = entry(cluster, "pods.image-swap.io").unwrap();
    assert!(pods["namespaceSelector"].to_string().contains("control-plane"), "{pods}");
    let foreign = entry(cluster, "x.example.org").unwrap();
    assert_eq!(foreign["clientConfig"]["url"], url["url"]);

    // The accounts may not use that entry for themselves.
    let all = cluster.registration().unwrap()["webhooks"].as_array().unwrap().len();
    let url = format!("/webhooks/{}/clientConfig/url", all - 1);
    let patch = json!([{ "op": "replace", "path": url, "value": "https://192.0.2.2/" }]);
    let (status, message) = send(&client, "PATCH", &own(), JSON_PATCH, &patch).await;
    assert_eq!(status, 422, "{message}");
}
