//! The chart's policies on nodes, trial pods and reports of agents, and the Secret by which
//! Helm has nodes restored.

use futures_util::{StreamExt, pin_mut};
use image_swap_testbed::{HelmMajor, HelmWait, Live};
use image_swap_testkit::node_mirror;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, ResourceExt,
    api::{WatchEvent, WatchParams},
};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::{
    VALUES,
    enough::controller_settings,
    policy::{JSON_PATCH, MERGE, send},
};
use crate::{
    install::{AGENTS, Account, Installed, TRIAL},
    nodes::{until_agents, until_stored},
    test_cluster::{
        JET_SECRETS, NAMESPACE, NODE_MIRRORS, SECRETS, TestCluster, chart, controller_by,
        eventually, intervals, keys, now, parts, until,
    },
};

const APPLY: &str = "application/apply-patch+yaml";
const NODES: &str = "/api/v1/nodes";
/// The startup taint.
const OWN: &str = "image-swap.io/not-configured";
/// Values of a release whose Job for removed agents has no node to run on.
const NO_JOB: &str = "agent: {awaitRestore: false}\n";

/// Sends an apply of `object` to `path`.
async fn apply(client: &Client, path: &str, object: &Value) -> (u16, String) {
    let path = format!("{path}?fieldManager=image-swap-agent&force=true");
    send(client, "PATCH", &path, APPLY, object).await
}

/// Sends an apply of `object` to `path` that is not stored.
async fn dry_apply(client: &Client, path: &str, object: &Value) -> (u16, String) {
    let path = format!("{path}?fieldManager=image-swap-agent&force=true&dryRun=All");
    send(client, "PATCH", &path, APPLY, object).await
}

/// Sends requests until the API server enforces the policy that refuses them.
pub(super) async fn wait_refused(request: impl AsyncFn() -> (u16, String)) {
    let began = std::time::Instant::now();
    while request().await.0 != 422 {
        assert!(began.elapsed().as_secs() < 120, "the policy should be enforced by now");
        tokio::task::yield_now().await;
    }
}

/// Creates the Node `name` and its `NodeMirror`.
async fn add_node(cluster: &TestCluster, name: &str) {
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": name, "labels": { "pool": "a" }, "annotations": { "note": "b" } },
    });
    cluster.request("POST", NODES, Some(&node));
    let mirror = node_mirror(name, "u", "containerd://2.4.1");
    cluster.node_mirrors_served().await;
    cluster.request("POST", NODE_MIRRORS, Some(&mirror));
}

/// Creates a pod of the agents on `node`.
pub(super) fn add_agent(cluster: &TestCluster, node: &str) -> Value {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("agent-{node}"), "labels": { "app.kubernetes.io/component": "agent" },
        },
        "spec": {
            "nodeName": node, "serviceAccountName": "image-swap-agent",
            "automountServiceAccountToken": false,
            "containers": [{ "name": "agent", "image": "quay.io/agents/image-swap:1" }],
        },
    });
    cluster.request("POST", &format!("/api/v1/namespaces/{AGENTS}/pods"), Some(&pod))
}

/// Returns a report of an agent with every field.
fn report(node: &str) -> Value {
    json!({
        "apiVersion": "image-swap.io/v1alpha1", "kind": "NodeMirror",
        "metadata": { "name": node },
        "status": {
            "nodeUid": "u", "bootID": "b", "wantedRevision": 2, "appliedRevision": null,
            "command": "systemctl restart containerd", "inexpressible": ["rule"],
            "conditions": [{
                "type": "Applied", "status": "False", "reason": "RestartRequired", "message": "m",
                "lastTransitionTime": "2026-11-29T00:00:00Z",
            }],
        },
    })
}

fn status(node: &str) -> String {
    format!("{NODE_MIRRORS}/{node}/status")
}

/// Kubernetes adds the name of the node to a token that the kubelet mounts into a pod.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn agent_reports_only_for_its_own_node() {
    let installed = Installed::with(VALUES).await;
    let cluster = &installed.cluster;
    for node in ["a", "b"] {
        add_node(cluster, node).await;
    }
    let agent = installed.client_of_agent(&add_agent(cluster, "a")).await;
    wait_refused(async || dry_apply(&agent, &status("b"), &report("b")).await).await;
    let (code, message) = apply(&agent, &status("b"), &report("b")).await;
    assert!(message.contains("only the NodeMirror of its own node"), "{code} {message}");
    let before = cluster.get(&format!("{NODE_MIRRORS}/b")).unwrap();
    assert!(before.get("status").is_none(), "{before}");

    let (code, message) = apply(&agent, &status("a"), &report("a")).await;
    assert_eq!(code, 200, "{message}");
    let stored = cluster.get(&format!("{NODE_MIRRORS}/a")).unwrap();
    assert_eq!(stored["status"], report("a")["status"]);
    assert_eq!(stored["spec"]["nodeUid"], "u");

    // The condition of another writer stays beside those of the agent.
    let verified = json!({
        "apiVersion": "image-swap.io/v1alpha1", "kind": "NodeMirror",
        "metadata": { "name": "a" },
        "status": { "conditions": [{
            "type": "Verified", "status": "True", "reason": "Pulled", "message": "",
            "lastTransitionTime": "2026-11-29T00:00:00Z",
        }] },
    });
    let controller = installed.client_as(Account::Controller).await;
    let path = format!("{}?fieldManager=image-swap-controller&force=true", status("a"));
    let (code, message) = send(&controller, "PATCH", &path, APPLY, &verified).await;
    assert_eq!(code, 200, "{message}");
    assert_eq!(apply(&agent, &status("a"), &report("a")).await.0, 200);
    let stored = cluster.get(&format!("{NODE_MIRRORS}/a")).unwrap();
    assert_eq!(stored["status"]["conditions"].as_array().unwrap().len(), 2, "{stored}");

    // An agent may not write another part of the object or another object, nor create one.
    let spec = json!({ "spec": { "nodeUid": "other" } });
    let own = format!("{NODE_MIRRORS}/a");
    assert_eq!(send(&agent, "PATCH", &own, MERGE, &spec).await.0, 403);
    assert_eq!(send(&agent, "DELETE", &own, MERGE, &json!({})).await.0, 403);
    assert_eq!(apply(&agent, &status("missing"), &report("missing")).await.0, 404);
    let label = json!({ "metadata": { "labels": { "x": "y" } } });
    for path in ["/api/v1/nodes/a", "/api/v1/nodes/b"] {
        assert_eq!(send(&agent, "PATCH", path, MERGE, &label).await.0, 403);
    }

    // A token without a node, as one that an administrator requests.
    let bare = installed.client_as(Account::Agent).await;
    assert_eq!(apply(&bare, &status("a"), &report("a")).await.0, 422);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn controller_changes_one_label_of_nodes() {
    let installed = Installed::with(VALUES).await;
    let cluster = &installed.cluster;
    add_node(cluster, "a").await;
    let path = format!("{NODES}/a");
    let client = installed.client_as(Account::Controller).await;
    let taint = json!({ "spec": { "taints": [{ "key": "k", "effect": "NoSchedule" }] } });
    let dry = format!("{path}?dryRun=All");
    wait_refused(async || send(&client, "PATCH", &dry, MERGE, &taint).await).await;

    let label =
        |value: Value| json!({ "metadata": { "labels": { "image-swap.io/runtime": value } } });
    let before = cluster.get(&path).unwrap();
    for patch in [
        taint,
        json!({ "spec": { "unschedulable": true } }),
        json!({ "metadata": { "labels": { "other": "x" } } }),
        json!({ "metadata": { "labels": { "pool": "b" } } }),
        json!({ "metadata": { "labels": { "pool": null, "image-swap.io/runtime": "crio" } } }),
        json!({ "metadata": { "labels": null } }),
        json!({ "metadata": { "annotations": { "other": "x" } } }),
        json!({ "metadata": { "annotations": null } }),
        json!({ "metadata": { "finalizers": ["example.org/held"] } }),
    ] {
        let (code, message) = send(&client, "PATCH", &path, MERGE, &patch).await;
        assert_eq!(code, 422, "{patch}: {message}");
        assert!(message.contains("only the label image-swap.io/runtime"), "{patch}: {message}");
    }
    assert_eq!(cluster.get(&path).unwrap(), before);

    for value in [json!("containerd"), json!("crio"), json!(null)] {
        let (code, message) = send(&client, "PATCH", &path, MERGE, &label(value.clone())).await;
        assert_eq!(code, 200, "{message}");
        let labels = &cluster.get(&path).unwrap()["metadata"]["labels"];
        assert_eq!((&labels["image-swap.io/runtime"], &labels["pool"]), (&value, &json!("a")));
    }
    // The same values by an apply.
    let mut object = label(json!("k3s"));
    object["apiVersion"] = "v1".into();
    object["kind"] = "Node".into();
    let (code, message) = apply(&client, &path, &object).await;
    assert_eq!(code, 200, "{message}");

    // The startup taint may be removed, but not added, and no other taint.
    set_taints(cluster, "a", &[("x", "NoSchedule"), (OWN, "NoSchedule")]);
    for changed in [
        json!([{ "key": OWN, "effect": "NoSchedule" }]),
        json!([{ "key": "x", "effect": "NoExecute" }, { "key": OWN, "effect": "NoSchedule" }]),
        json!([{ "key": "x", "effect": "NoSchedule" }, { "key": OWN, "effect": "NoExecute" }]),
        json!([]),
    ] {
        let change = json!({ "spec": { "taints": changed } });
        let (code, message) = send(&client, "PATCH", &path, MERGE, &change).await;
        assert_eq!(code, 422, "{change}: {message}");
    }
    let others = json!({ "spec": { "taints": [{ "key": "x", "effect": "NoSchedule" }] } });
    let (code, message) = send(&client, "PATCH", &path, MERGE, &others).await;
    assert_eq!(code, 200, "{message}");
    let both = [("x", "NoSchedule"), (OWN, "NoSchedule")].map(mk_taint);
    let both = json!({ "spec": { "taints": both } });
    let (code, message) = send(&client, "PATCH", &path, MERGE, &both).await;
    assert!(code == 422 && message.contains("and not add it"), "{code} {message}");

    // An administrator is not limited, and a Node without labels is one like others.
    let bare = json!({ "metadata": { "labels": null, "annotations": null } });
    cluster.request("PATCH", &path, Some(&bare));
    let (code, message) = send(&client, "PATCH", &path, MERGE, &label(json!("crio"))).await;
    assert_eq!(code, 200, "{message}");
}

fn mk_taint((key, effect): (&str, &str)) -> Value {
    json!({ "key": key, "effect": effect })
}

/// Sets the taints of a Node, as an administrator does.
fn set_taints(cluster: &TestCluster, node: &str, taints: &[(&str, &str)]) {
    let taints: Vec<Value> = taints.iter().map(|it| mk_taint(*it)).collect();
    let patch = json!({ "spec": { "taints": taints } });
    cluster.request("PATCH", &format!("{NODES}/{node}"), Some(&patch));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn controller_adds_the_startup_taint_alone() {
    let installed = Installed::with(&format!("{VALUES}agent: {{startupTaint: true}}\n")).await;
    let cluster = &installed.cluster;
    add_node(cluster, "a").await;
    set_taints(cluster, "a", &[("x", "NoSchedule")]);
    let path = format!("{NODES}/a");
    let client = installed.client_as(Account::Controller).await;
    let change = |taints: &[(&str, &str)], unschedulable: Value| {
        let taints: Vec<Value> = taints.iter().map(|it| mk_taint(*it)).collect();
        json!({ "spec": { "taints": taints, "unschedulable": unschedulable } })
    };
    let (other, own) = (("x", "NoSchedule"), (OWN, "NoSchedule"));
    let foreign = change(&[other, ("y", "NoSchedule")], Value::Null);
    let dry = format!("{path}?dryRun=All");
    wait_refused(async || send(&client, "PATCH", &dry, MERGE, &foreign).await).await;
    for refused in [
        foreign,
        change(&[own], Value::Null),
        change(&[other, (OWN, "NoExecute")], Value::Null),
        change(&[other, own, (OWN, "NoExecute")], Value::Null),
        change(&[other, own], json!(true)),
    ] {
        let (code, message) = send(&client, "PATCH", &path, MERGE, &refused).await;
        assert_eq!(code, 422, "{refused}: {message}");
    }
    for admitted in [&[other, own][..], &[other]] {
        let (code, message) =
            send(&client, "PATCH", &path, MERGE, &change(admitted, Value::Null)).await;
        assert_eq!(code, 200, "{message}");
    }
}

/// Returns a trial pod as the controller applies it.
fn trial_pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name,
            "annotations": { "image-swap.io/trial": "7" },
            "labels": { "image-swap.io/exempt": "true" },
        },
        "spec": {
            "nodeName": "a", "restartPolicy": "Never", "automountServiceAccountToken": false,
            "enableServiceLinks": false, "terminationGracePeriodSeconds": 0,
            "tolerations": [{ "operator": "Exists" }],
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 65534,
                "seccompProfile": { "type": "RuntimeDefault" },
            },
            "containers": [{
                "name": "trial", "image": "docker.io/library/busybox:1.36",
                "imagePullPolicy": "Always", "command": ["/image-swap-trial"],
                "securityContext": {
                    "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] },
                },
            }],
        },
    })
}

/// Changes after which a trial pod is another pod.
fn other_shapes() -> Vec<(&'static str, Value)> {
    let container = "/spec/containers/0";
    let of = |at: &str, value: Value| (format!("{container}{at}"), value);
    let volume = json!([{ "name": "host", "hostPath": { "path": "/" } }]);
    let secret = json!([{ "name": "s", "secret": { "secretName": "s" } }]);
    let second = json!([{ "name": "i", "image": "busybox" }]);
    let env = json!([{ "name": "A", "value": "b" }]);
    let hook = json!({ "preStop": { "exec": { "command": ["id"] } } });
    let changes = [
        ("/metadata/annotations".to_owned(), json!({})),
        ("/metadata/labels".to_owned(), json!({})),
        ("/spec/nodeName".to_owned(), json!("")),
        ("/spec/restartPolicy".to_owned(), json!("Always")),
        ("/spec/automountServiceAccountToken".to_owned(), json!(true)),
        ("/spec/hostNetwork".to_owned(), json!(true)),
        ("/spec/hostPID".to_owned(), json!(true)),
        ("/spec/volumes".to_owned(), volume),
        ("/spec/volumes".to_owned(), secret),
        ("/spec/initContainers".to_owned(), second),
        ("/spec/securityContext/runAsUser".to_owned(), json!(1000)),
        ("/spec/securityContext/runAsUser".to_owned(), json!(0)),
        of("/command", json!(["/bin/sh"])),
        of("/command", json!(null)),
        of("/args", json!(["-c", "id"])),
        of("/env", env),
        of("/lifecycle", hook),
        of("/imagePullPolicy", json!("IfNotPresent")),
        of("/securityContext/allowPrivilegeEscalation", json!(true)),
        of("/securityContext/capabilities/add", json!(["NET_BIND_SERVICE"])),
        of("/securityContext/runAsUser", json!(1000)),
    ];
    changes
        .into_iter()
        .map(|(pointer, value)| {
            let mut pod = trial_pod("trial-7-other");
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            pod.pointer_mut(parent).unwrap()[key] = value;
            (&*pointer.leak(), pod)
        })
        .collect()
}

/// Creates the service account of pods in `namespace`, as Kubernetes does in each namespace.
pub(super) fn add_default_account(cluster: &TestCluster, namespace: &str) {
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "default" },
    });
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
    cluster.request("POST", &path, Some(&account));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn controller_creates_only_trial_pods() {
    let installed = Installed::with(VALUES).await;
    let cluster = &installed.cluster;
    add_default_account(cluster, TRIAL);
    let namespace = format!("/api/v1/namespaces/{TRIAL}");
    let client = installed.client_as(Account::Controller).await;
    let pods = format!("{namespace}/pods");
    let mut shell = trial_pod("trial-7-other");
    shell["spec"]["containers"][0]["command"] = json!(["/bin/sh"]);
    let path = format!("{pods}/trial-7-other");
    wait_refused(async || dry_apply(&client, &path, &shell).await).await;

    for (what, pod) in other_shapes() {
        let (code, message) = apply(&client, &path, &pod).await;
        // The level `restricted` of the namespace refuses some of them before.
        let is_policy = code == 422 && message.contains("may create only trial pods");
        let is_level = code == 403 && message.contains("violates PodSecurity");
        assert!(is_policy || is_level, "{what}: {code} {message}");
        println!("{what}: {}", if is_policy { "policy" } else { "PodSecurity" });
    }
    let (code, message) = apply(&client, &format!("{pods}/other"), &trial_pod("other")).await;
    assert_eq!(code, 422, "{message}");
    assert_eq!(cluster.get(&pods).unwrap()["items"], json!([]));

    let path = format!("{pods}/trial-7-a");
    let (code, message) = apply(&client, &path, &trial_pod("trial-7-a")).await;
    assert_eq!(code, 200, "{message}");
    // The webhook of the release and its guard have nothing to do with it.
    let labels = cluster.get(&namespace).unwrap()["metadata"]["labels"].clone();
    assert_eq!(labels["k8s.twr.io/imageswap"], "disabled");
    let image = json!([{
        "op": "remove", "path": "/metadata/annotations/image-swap.io~1trial",
    }]);
    let (code, message) = send(&client, "PATCH", &path, JSON_PATCH, &image).await;
    assert_eq!(code, 422, "{message}");
    let options = json!({ "apiVersion": "v1", "kind": "DeleteOptions" });
    let (code, message) = send(&client, "DELETE", &path, "application/json", &options).await;
    assert_eq!(code, 200, "{message}");
}

fn helm(cluster: &TestCluster, major: HelmMajor) -> Live {
    Live::new(parts().helm().unwrap(), major, cluster.control_plane.kubeconfig()).unwrap()
}

/// Returns the Secret of the agents as the controller writes it.
fn declaration() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": { "name": "image-swap-nodes" },
        "stringData": { "revision": "3", "source": "none", "declaration": "", "fallback": "never" },
    })
}

/// Runs `change`. Returns true for each version of the Secret of the agents that requests a
/// restore, as a watch reports them, and false for each that does not.
async fn watched(cluster: &TestCluster, change: impl FnOnce()) -> Vec<bool> {
    let before = cluster.get(&format!("{SECRETS}/image-swap-nodes")).unwrap();
    let version = before["metadata"]["resourceVersion"].as_str().unwrap();
    block_in_place(change);
    // The API server reports the past as well. This Secret is the last event.
    let end = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "end" } });
    cluster.request("POST", SECRETS, Some(&end));
    let secrets: Api<Secret> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    let events = secrets.watch(&WatchParams::default(), version).await.unwrap();
    pin_mut!(events);
    let mut found = Vec::new();
    loop {
        let event = events.next().await.unwrap().unwrap();
        let (WatchEvent::Added(secret) | WatchEvent::Modified(secret)) = event else { continue };
        match &*secret.name_any() {
            "end" => break,
            "image-swap-nodes" => {
                let value = secret.data.unwrap_or_default().remove("restore");
                found.push(value.is_some_and(|value| value.0 == b"true"));
            }
            _ => {}
        }
    }
    cluster.request("DELETE", &format!("{SECRETS}/end"), None);
    found
}

/// Waits until no namespace of the agents is being deleted.
async fn namespaces_settled(cluster: &TestCluster) {
    for namespace in [AGENTS, TRIAL] {
        let path = format!("/api/v1/namespaces/{namespace}");
        let is_ending = |it: Value| it["metadata"]["deletionTimestamp"].is_string();
        eventually(|| (!cluster.get(&path).is_some_and(is_ending)).then_some(())).await;
    }
}

/// Helm replaces the controller's Secret by one that requests a restore of nodes. The running
/// controller must not overwrite it.
// guarantee: 5d
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn helm_requests_restore_before_removing_agents() {
    let chart = chart();
    for major in HelmMajor::ALL {
        let installed = Installed::managed_by(major, VALUES).await;
        let cluster = &installed.cluster;
        let helm = helm(cluster, major);
        let upgrade = |more: &str| {
            let values = format!("{VALUES}{more}");
            helm.upgrade_install(NAMESPACE, "image-swap", &chart, &[&values], HelmWait::Hooks)
                .unwrap();
        };
        let path = format!("{SECRETS}/image-swap-nodes");
        assert!(cluster.get(&path).is_none(), "{major}: an installation creates none");
        cluster.request("POST", SECRETS, Some(&declaration()));
        let as_controller = installed.client_as(Account::Controller).await;
        let run = || {
            controller_by(&as_controller, controller_settings(&installed), "one", intervals(), now)
        };
        let mut controller = run();
        until_agents(&mut controller, |_| true).await;

        // An upgrade that keeps the agents does not touch the Secret.
        let before = cluster.get(&path).unwrap();
        block_in_place(|| upgrade(&format!("{NO_JOB}policy: ignore\n")));
        assert_eq!(cluster.get(&path).unwrap(), before, "{major}");

        // An upgrade that disables the agents replaces the Secret once.
        let disabled = "agent: {enabled: false, awaitRestore: false}\n";
        assert_eq!(watched(cluster, || upgrade(disabled)).await, [true], "{major}");
        let revision = controller.report.borrow().declaration.revision;
        cluster.declare(JET_SECRETS, "registry-info", &keys("page.example.org"));
        until(&mut controller.report, |it| it.declaration.revision > revision).await;
        drop(controller);
        let restore = cluster.get(&path).unwrap();
        assert_ne!(restore["metadata"]["uid"], before["metadata"]["uid"]);
        assert_eq!(restore["data"].as_object().unwrap().len(), 1);
        block_in_place(|| upgrade(disabled));
        assert_eq!(cluster.get(&path).unwrap()["metadata"]["uid"], restore["metadata"]["uid"]);
        namespaces_settled(cluster).await;
        // The custom resource is kept, and taken over. Another controller overwrites the Secret.
        cluster.node_mirrors_served().await;
        block_in_place(|| upgrade(NO_JOB));
        let mut controller = run();
        until_stored(cluster, |it| !it.restore).await;

        // Only one release of a cluster may have agents.
        let other = || {
            helm.upgrade_install(NAMESPACE, "other", &chart, &[VALUES], HelmWait::Hooks)
                .map_err(|error| error.to_string())
        };
        let refused = block_in_place(other).unwrap_err();
        assert!(refused.contains("the agents of one release in a cluster"), "{refused}");

        until_agents(&mut controller, |_| true).await;
        let uninstall = || helm.uninstall(NAMESPACE, "image-swap", HelmWait::Hooks).unwrap();
        assert_eq!(watched(cluster, uninstall).await, [true, false], "{major}");
        assert!(cluster.get(&path).is_none(), "{major}: an uninstallation leaves none");
        drop(controller);
        let mark = format!("/api/v1/namespaces/{NAMESPACE}/configmaps/image-swap-uninstall");
        assert!(cluster.get(&mark).is_none(), "{major}");

        // A release of another name accepts the custom resource as it is.
        namespaces_settled(cluster).await;
        block_in_place(other).unwrap();
        cluster.node_mirrors_served().await;
    }
}
