//! Requests that the API server refuses for a stolen token of image-swap.

use hyper::Request;
use kube::Client;
use serde_json::{Value, json};

use super::VALUES;
use crate::{
    install::{AGENTS, Account, Installed, RESTART, TRIAL},
    test_cluster::{ANCHORS, JET_SECRETS, NAMESPACE, NODE_MIRRORS, REGISTRATIONS, SECRETS},
};

const APPLY: &str = "application/apply-patch+yaml";
const MERGE: &str = "application/merge-patch+json";
const JSON: &str = "application/json";

/// A request: method, path, content type, body.
type Attempt = (&'static str, String, &'static str, Value);

fn read(path: impl Into<String>) -> Attempt {
    ("GET", path.into(), JSON, Value::Null)
}

fn delete(path: impl Into<String>) -> Attempt {
    ("DELETE", path.into(), JSON, Value::Null)
}

fn secret(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "data": {} })
}

fn pod() -> Value {
    image_swap_testkit::pod("p", &[("c", "nginx")])
}

fn node() -> Value {
    json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "n" } })
}

fn node_mirror() -> Value {
    image_swap_testkit::node_mirror("n", "u", "containerd://2.4.1")
}

/// Returns requests by which an account could gain all permissions.
fn escalations() -> Vec<Attempt> {
    let everything = json!([{ "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] }]);
    let role = |kind, name| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
            "metadata": { "name": name }, "rules": everything,
        })
    };
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let bind = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": { "name": "mine" },
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin",
        },
        "subjects": [{
            "kind": "ServiceAccount", "name": "image-swap-controller", "namespace": NAMESPACE,
        }],
    });
    let own = format!("{ANCHORS}/image-swap");
    let token =
        format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts/image-swap-controller/token");
    let request =
        json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {} });
    vec![
        // The controller may mark its own role, but not extend it.
        ("PATCH", own, MERGE, json!({ "rules": everything })),
        ("POST", ANCHORS.into(), JSON, role("ClusterRole", "mine")),
        ("PATCH", format!("{ANCHORS}/cluster-admin"), MERGE, json!({ "rules": [] })),
        ("POST", format!("{rbac}/namespaces/{NAMESPACE}/roles"), JSON, role("Role", "mine")),
        ("POST", format!("{rbac}/clusterrolebindings"), JSON, bind),
        read(format!("{rbac}/clusterrolebindings")),
        ("POST", token, JSON, request),
        ("POST", "/api/v1/namespaces/apps/pods".into(), JSON, pod()),
        ("POST", format!("/api/v1/namespaces/{NAMESPACE}/pods"), JSON, pod()),
        ("POST", "/api/v1/namespaces/apps/pods/p/exec?command=id".into(), JSON, Value::Null),
        read("/api/v1/nodes/n"),
        read("/api/v1/nodes/n/proxy/pods"),
        delete("/api/v1/nodes/n"),
        ("POST", "/api/v1/nodes".into(), JSON, node()),
        ("PATCH", "/api/v1/nodes/n/status".into(), MERGE, json!({ "status": {} })),
        ("POST", format!("/api/v1/namespaces/{AGENTS}/pods"), JSON, pod()),
        ("POST", format!("/api/v1/namespaces/{TRIAL}/pods/p/exec?command=id"), JSON, Value::Null),
        // The values of this test do not let the controller restart nodes.
        ("POST", format!("/api/v1/namespaces/{RESTART}/pods"), JSON, pod()),
        read(format!("/apis/coordination.k8s.io/v1/namespaces/{RESTART}/leases")),
        // The controller may not change its own Deployment.
        (
            "PATCH",
            format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments/image-swap-controller"),
            MERGE,
            json!({ "spec": { "replicas": 0 } }),
        ),
    ]
}

/// Returns requests for Secrets of other programs, and for own Secrets by verbs that image-swap
/// does not use.
fn secrets() -> Vec<Attempt> {
    vec![
        read("/api/v1/secrets"),
        read(SECRETS),
        read(JET_SECRETS),
        read(format!("{SECRETS}/other")),
        read("/api/v1/namespaces/apps/secrets"),
        read("/api/v1/namespaces/kube-system/secrets/registry-infos"),
        read(format!("{JET_SECRETS}?watch=true")),
        ("PATCH", format!("{SECRETS}/other"), APPLY, secret("other")),
        ("PATCH", "/api/v1/namespaces/apps/secrets/other".into(), APPLY, secret("other")),
        // A POST is authorised without a name, so that no account may send one.
        ("POST", SECRETS.into(), JSON, secret("image-swap-effective")),
        ("POST", "/api/v1/namespaces/apps/secrets".into(), JSON, secret("other")),
        ("PATCH", format!("{JET_SECRETS}/registry-info"), APPLY, secret("registry-info")),
        delete(format!("{JET_SECRETS}/registry-info")),
        delete(format!("{SECRETS}/image-swap-last-good")),
        ("PATCH", format!("{SECRETS}/image-swap-declaration"), MERGE, json!({ "data": {} })),
    ]
}

/// Returns requests that only agents may send.
fn of_agents() -> Vec<Attempt> {
    vec![
        read(format!("{SECRETS}/image-swap-nodes")),
        read(format!("{NODE_MIRRORS}/n")),
        ("PATCH", format!("{NODE_MIRRORS}/n/status"), MERGE, json!({ "status": {} })),
    ]
}

/// Returns requests for objects of other programs.
fn others() -> Vec<Attempt> {
    let namespace =
        |name| json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
    let validating =
        "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations".to_owned();
    let maps = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    vec![
        delete(format!("{REGISTRATIONS}/other")),
        ("PATCH", format!("{REGISTRATIONS}/other"), MERGE, json!({ "webhooks": [] })),
        read(validating),
        ("POST", "/api/v1/namespaces".into(), JSON, namespace("other")),
        ("PATCH", "/api/v1/namespaces/apps".into(), MERGE, json!({ "metadata": { "labels": {} } })),
        delete("/api/v1/namespaces/jet-system"),
        delete("/api/v1/namespaces/kube-system"),
        read(maps.clone()),
        ("PATCH", format!("{maps}/other"), MERGE, json!({ "data": {} })),
        read("/apis/apps/v1/deployments"),
        read(format!("/api/v1/namespaces/{NAMESPACE}/events")),
        read("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-scheduler"),
    ]
}

/// Returns requests that only the controller may send.
fn the_controller_s() -> Vec<Attempt> {
    let lease =
        format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/image-swap-controller");
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": { "name": "e" },
        "involvedObject": { "kind": "Namespace", "name": "apps", "namespace": "apps" },
    });
    vec![
        read(format!("{SECRETS}/image-swap-ca")),
        read(format!("{SECRETS}?fieldSelector=metadata.name%3Dimage-swap-ca")),
        read(format!("{SECRETS}/image-swap-last-good")),
        read(format!("{SECRETS}/image-swap-declaration")),
        read(format!("{JET_SECRETS}/registry-info")),
        ("PATCH", format!("{SECRETS}/image-swap-effective"), MERGE, json!({ "data": {} })),
        ("PATCH", format!("{SECRETS}/image-swap-tls"), MERGE, json!({ "data": {} })),
        read("/api/v1/nodes"),
        ("PATCH", "/api/v1/nodes/n".into(), MERGE, json!({ "metadata": { "labels": {} } })),
        read(NODE_MIRRORS),
        ("PATCH", format!("{NODE_MIRRORS}/n"), MERGE, json!({ "spec": {} })),
        delete(format!("{NODE_MIRRORS}/n")),
        ("POST", NODE_MIRRORS.into(), JSON, node_mirror()),
        ("POST", format!("/api/v1/namespaces/{TRIAL}/pods"), JSON, pod()),
        ("PATCH", format!("{SECRETS}/image-swap-nodes"), MERGE, json!({ "data": {} })),
        delete(format!("{SECRETS}/image-swap-nodes")),
        read(REGISTRATIONS),
        delete(format!("{REGISTRATIONS}/image-swap-admission")),
        read("/api/v1/pods"),
        read("/api/v1/namespaces/jet-system"),
        read(format!("{ANCHORS}/image-swap")),
        read(lease),
        ("POST", "/api/v1/namespaces/apps/events".into(), JSON, event),
    ]
}

// guarantee: 6c
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn accounts_cannot_escalate_or_change_foreign_objects() {
    let installed = Installed::with(VALUES).await;
    let cluster = &installed.cluster;
    cluster.control_plane.create_namespace("jet-system").unwrap();
    // The objects exist, so that a 403 is not the response to a missing object.
    for (path, name) in [
        (SECRETS, "other"),
        (SECRETS, "image-swap-ca"),
        (SECRETS, "image-swap-tls"),
        (SECRETS, "image-swap-effective"),
        (SECRETS, "image-swap-last-good"),
        (SECRETS, "image-swap-nodes"),
        (JET_SECRETS, "registry-info"),
    ] {
        cluster.request("POST", path, Some(&secret(name)));
    }
    cluster.request("POST", "/api/v1/nodes", Some(&node()));
    cluster.node_mirrors_served().await;
    cluster.request("POST", NODE_MIRRORS, Some(&node_mirror()));
    let of_every_account = [escalations(), secrets(), others()].concat();
    for (account, attempts) in [
        (Account::Controller, of_every_account.clone()),
        (Account::Admission, [of_every_account.clone(), the_controller_s(), of_agents()].concat()),
        (Account::Agent, [of_every_account, the_controller_s()].concat()),
    ] {
        let client = installed.client_as(account).await;
        for attempt in attempts {
            let status = status_of(&client, &attempt).await;
            assert_eq!(status, 403, "{account:?}: {} {}", attempt.0, attempt.1);
        }
    }
    // Requests of the same form succeed for other objects, so that the form is not the reason for a
    // refusal.
    let named = |name| format!("{SECRETS}?fieldSelector=metadata.name%3D{name}");
    for (account, path) in [
        (Account::Controller, format!("{JET_SECRETS}/registry-info")),
        (Account::Controller, format!("{SECRETS}/image-swap-ca")),
        (Account::Admission, named("image-swap-effective")),
        (Account::Admission, named("image-swap-tls")),
        (Account::Controller, "/api/v1/nodes".into()),
        (Account::Agent, format!("{SECRETS}/image-swap-nodes")),
        (Account::Agent, format!("{NODE_MIRRORS}/n")),
    ] {
        let client = installed.client_as(account).await;
        assert_eq!(status_of(&client, &read(path)).await, 200);
    }
}

/// Returns the status of the response.
async fn status_of(client: &Client, (method, path, kind, body): &Attempt) -> u16 {
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    // An apply requires the name of a field manager.
    let manager = if *kind == APPLY { "?fieldManager=thief&force=true" } else { "" };
    let request = Request::builder().method(*method).uri(format!("{path}{manager}"));
    let request = request.header("content-type", *kind).body(body).unwrap();
    match client.request_text(request).await {
        Ok(_) => 200,
        Err(kube::Error::Api(status)) => status.code,
        Err(error) => panic!("{method} {path}: {error}"),
    }
}
