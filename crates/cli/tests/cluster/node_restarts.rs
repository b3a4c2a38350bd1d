//! Restarts of runtimes, node by node. The test plays the agents and the kubelets.

use std::{collections::BTreeSet, sync::Arc};

use image_swap_cluster::{
    AgentSettings, Controller, NodeRestartSettings, Settings, config, status::status,
};
use image_swap_core::status::PendingNodes;
use image_swap_testbed::Options;
use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::{
    nodes::{
        NODES, add_agent, add_node, apply, mirror, report, set, set_with, until_agents,
        until_tried, until_verified, with_agents,
    },
    registry::declared,
    service::address,
    test_cluster::{
        JET_SECRETS, NAMESPACE, Running, TestCluster, eventually, intervals, release, run,
    },
};

const RESTARTS: &str = "image-swap-restart";
const PODS: &str = "/api/v1/namespaces/image-swap-restart/pods";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/image-swap-restart/leases";
const IMAGE: &str = "registry.example.org/image-swap:1";

fn with_restarts() -> Settings {
    let settings = with_agents();
    let restart = NodeRestartSettings {
        namespace: RESTARTS.into(),
        image: IMAGE.into(),
        pull_secrets: vec!["pull".into()],
        max_unavailable: 1,
        command: None,
    };
    let agents = settings.agents.map(|it| AgentSettings { restart: Some(restart), ..it });
    Settings { agents, ..settings }
}

/// Creates a Ready node with an agent.
fn add(cluster: &TestCluster, name: &str, labels: &Value) {
    add_node(cluster, name, "containerd://2.4.1", &json!({ "labels": labels }));
    add_agent(cluster, name);
    set_ready(cluster, name, "True");
}

fn set_ready(cluster: &TestCluster, name: &str, ready: &str) {
    let status = json!({ "status": { "conditions": [{ "type": "Ready", "status": ready }] } });
    cluster.request("PATCH", &format!("{NODES}/{name}/status"), Some(&status));
}

/// Waits for the pod that restarts the runtime of `node`.
async fn restarting(cluster: &TestCluster, number: u64, node: &str) -> Value {
    eventually(|| cluster.get(&format!("{PODS}/restart-{number}-{node}"))).await
}

/// Sets the phase of a restart pod as a kubelet does.
fn set_phase(cluster: &TestCluster, pod: &Value, phase: &str, message: &str) {
    let name = pod["metadata"]["name"].as_str().unwrap();
    let ended = json!({ "reason": "Error", "exitCode": 1, "message": message });
    let state =
        if phase == "Running" { json!({ "running": {} }) } else { json!({ "terminated": ended }) };
    let container = json!({
        "name": "restart", "image": IMAGE, "imageID": "", "ready": false, "restartCount": 0,
        "state": state, "lastState": {},
    });
    let status = json!({ "status": { "phase": phase, "containerStatuses": [container] } });
    cluster.request("PATCH", &format!("{PODS}/{name}/status"), Some(&status));
}

/// Returns the names of the objects below `path`.
fn names(cluster: &TestCluster, path: &str) -> BTreeSet<String> {
    let list = cluster.get(path).unwrap();
    let name = |it: &Value| it["metadata"]["name"].as_str().unwrap().to_owned();
    list["items"].as_array().unwrap().iter().map(name).collect()
}

async fn until_gone(cluster: &TestCluster, path: &str) {
    eventually(|| cluster.get(path).is_none().then_some(())).await;
}

/// Returns true if `found` has all that `expected` has.
fn has(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            expected.iter().all(|(key, value)| found.get(key).is_some_and(|it| has(it, value)))
        }
        (Value::Array(found), Value::Array(expected)) => {
            expected.iter().all(|value| found.iter().any(|it| has(it, value)))
        }
        _ => found == expected,
    }
}

/// Declares a registry, and brings declaration 1 on trial on the node `a`.
async fn on_trial(cluster: &TestCluster) -> crate::registry::Faulty {
    let mirror = mirror(&Arc::default()).await;
    let keys = declared(&mirror.domain, &mirror.authority);
    cluster.declare(JET_SECRETS, "registry-info", &keys);
    mirror
}

async fn until_restarts(controller: &mut Running, part: &str) -> String {
    until_agents(controller, |it| it.restarts.contains(part)).await.restarts
}

#[expect(clippy::too_many_lines, reason = "the steps of one cluster's life")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn nodes_restart_one_by_one_until_one_fails() {
    let cluster = set().await;
    cluster.control_plane.create_namespace(RESTARTS).unwrap();
    for name in ["a", "b"] {
        add(&cluster, name, &Value::Null);
    }
    let _mirror = on_trial(&cluster).await;
    let mut controller = cluster.controller(with_restarts(), "one");

    // The node on trial needs a restart.
    until_tried(&cluster, 1, &["a"]).await;
    report(&cluster, "a", 1, "False", "RestartRequired").await;
    let pod = restarting(&cluster, 1, "a").await;
    let labels = json!({
        "app.kubernetes.io/name": "image-swap", "app.kubernetes.io/managed-by": "image-swap",
        "image-swap.io/release": "image-swap",
    });
    let mut of_pod = labels.clone();
    of_pod["app.kubernetes.io/component"] = "restart".into();
    of_pod["image-swap.io/exempt"] = "true".into();
    let annotations = json!({ "image-swap.io/restart": "1" });
    assert_eq!(pod["metadata"]["labels"], of_pod);
    assert_eq!(pod["metadata"]["annotations"], annotations);
    let spec = json!({
        "nodeName": "a", "hostPID": true, "hostNetwork": true, "dnsPolicy": "Default",
        "restartPolicy": "Never", "activeDeadlineSeconds": 900,
        "tolerations": [{ "operator": "Exists" }], "priorityClassName": "system-node-critical",
        "automountServiceAccountToken": false, "enableServiceLinks": false,
        "terminationGracePeriodSeconds": 5, "imagePullSecrets": [{ "name": "pull" }],
        "securityContext": {
            "runAsUser": 0, "runAsGroup": 0, "seLinuxOptions": { "type": "spc_t" },
        },
        "containers": [{
            "name": "restart", "image": IMAGE, "imagePullPolicy": "IfNotPresent",
            "args": ["node", "restart-pod", "--root=/host", "--number=1"],
            "securityContext": { "privileged": true, "readOnlyRootFilesystem": true },
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "volumeMounts": [{
                "name": "host", "mountPath": "/host", "mountPropagation": "HostToContainer",
            }],
        }],
        "volumes": [{ "name": "host", "hostPath": { "path": "/", "type": "Directory" } }],
    });
    assert!(has(&pod["spec"], &spec), "{}", pod["spec"]);
    let lease = cluster.get(&format!("{LEASES}/restart-a")).unwrap();
    assert_eq!(lease["metadata"]["labels"], labels);
    assert_eq!(lease["metadata"]["annotations"], annotations);
    assert!(has(&lease["spec"], &json!({ "holderIdentity": "a", "leaseDurationSeconds": 900 })));
    assert!(lease["spec"]["acquireTime"].is_string() && lease["spec"]["renewTime"].is_null());
    eventually(|| cluster.events(NAMESPACE, "RestartStarted").first().cloned()).await;
    let agents = until_agents(&mut controller, |it| !it.restarts.is_empty()).await;
    assert_eq!(agents.restarts, "restarts the runtime of a");
    let reasons: Vec<_> = agents.pending.iter().map(|it| it.reason.as_str()).collect();
    assert_eq!(reasons, ["OnTrial", "RestartPending"]);

    // The node has the declaration, but its kubelet does not report yet.
    set_phase(&cluster, &pod, "Running", "");
    set_ready(&cluster, "a", "Unknown");
    apply(&cluster, "a").await;
    until_verified(&cluster, 1).await;
    set_phase(&cluster, &pod, "Succeeded", "");
    report(&cluster, "b", 1, "False", "RestartRequired").await;
    until_restarts(&mut controller, "1 node waits").await;
    assert_eq!(names(&cluster, LEASES), ["restart-a".to_owned()].into());
    set_ready(&cluster, "a", "True");
    until_gone(&cluster, &format!("{LEASES}/restart-a")).await;
    until_gone(&cluster, &format!("{PODS}/restart-1-a")).await;

    // The next node fails, which stops all others.
    let pod = restarting(&cluster, 1, "b").await;
    set_phase(&cluster, &pod, "Failed", "rolled back: containerd is not healthy");
    report(&cluster, "b", 1, "False", "RestartFailed").await;
    let stopped = until_agents(&mut controller, |it| it.restarts_stopped).await.restarts;
    let command = "kubectl annotate lease --namespace image-swap-restart restart-b \
                   image-swap.io/restart=resume --overwrite";
    for part in ["the restart of b failed: rolled back: containerd is not healthy", command] {
        assert!(stopped.contains(part), "{stopped}");
    }
    let found = status(&cluster.client, &release()).await.unwrap();
    let problem = found.problems.iter().find(|it| it.code == "node-restart-failed").unwrap();
    assert_eq!(problem.message, stopped);
    assert!(controller.metrics.text().unwrap().contains("node_restarts_stopped 1"));
    for reason in ["RestartFailed", "RestartsStopped"] {
        eventually(|| cluster.events(NAMESPACE, reason).first().cloned()).await;
    }
    add(&cluster, "d", &Value::Null);
    report(&cluster, "d", 1, "False", "RestartRequired").await;
    let waits = |it: &PendingNodes| it.reason == "RestartPending" && it.nodes == ["d"];
    until_agents(&mut controller, |it| it.pending.iter().any(waits)).await;
    assert_eq!(names(&cluster, LEASES), ["restart-b".to_owned()].into());
    // The next leader does the same.
    drop(controller);
    let mut controller = cluster.controller(with_restarts(), "two");
    until_agents(&mut controller, |it| it.restarts == stopped).await;
    assert_eq!(names(&cluster, LEASES), ["restart-b".to_owned()].into());

    // An administrator ends the Lease: the node is tried again.
    let resume = json!({ "metadata": { "annotations": { "image-swap.io/restart": "resume" } } });
    cluster.request("PATCH", &format!("{LEASES}/restart-b"), Some(&resume));
    let is_new = |it: &Value| it["metadata"]["uid"] != pod["metadata"]["uid"];
    let path = format!("{PODS}/restart-1-b");
    let again = eventually(|| cluster.get(&path).filter(is_new)).await;
    let lease = cluster.get(&format!("{LEASES}/restart-b")).unwrap();
    assert_eq!(lease["metadata"]["annotations"], annotations);
    until_agents(&mut controller, |it| !it.restarts_stopped && !it.restarts.is_empty()).await;

    // It does not end in time.
    let expired = json!({ "spec": { "acquireTime": "2026-01-01T00:00:00.000000Z" } });
    cluster.request("PATCH", &format!("{LEASES}/restart-b"), Some(&expired));
    let stopped = until_agents(&mut controller, |it| it.restarts_stopped).await.restarts;
    assert!(stopped.contains("the restart of b did not end in time"), "{stopped}");
    assert_eq!(names(&cluster, LEASES), ["restart-b".to_owned()].into());
    // The host was late. The next node follows.
    set_phase(&cluster, &again, "Succeeded", "");
    apply(&cluster, "b").await;
    until_gone(&cluster, &format!("{LEASES}/restart-b")).await;
    restarting(&cluster, 1, "d").await;
    assert_eq!(names(&cluster, LEASES), ["restart-d".to_owned()].into());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn control_plane_node_waits_for_every_api_server() {
    let options = Options {
        api_server_flags: vec!["--bind-address=0.0.0.0".to_owned()],
        ..Options::default()
    };
    let cluster = set_with(&options).await;
    cluster.control_plane.create_namespace(RESTARTS).unwrap();
    add(&cluster, "a", &json!({ "node-role.kubernetes.io/control-plane": "" }));
    let _mirror = on_trial(&cluster).await;
    let works = (address(), cluster.control_plane.port()).into();
    // No process listens on port 1.
    let silent = (address(), 1).into();
    let publish = |servers: &[std::net::SocketAddr]| {
        let control_plane = &cluster.control_plane;
        block_in_place(|| control_plane.set_endpoints("default", "kubernetes", "https", servers))
            .unwrap();
    };
    publish(&[works, silent]);
    let config = config(Some(cluster.control_plane.kubeconfig())).await.unwrap();
    let controller = Controller::new(&cluster.client, with_restarts(), "one", intervals());
    let mut controller = run(&cluster.client, controller.probing_by(config), "one");
    until_tried(&cluster, 1, &["a"]).await;
    report(&cluster, "a", 1, "False", "RestartRequired").await;
    let waits = until_restarts(&mut controller, "a waits for /readyz of every API server").await;
    assert!(waits.contains(&silent.to_string()), "{waits}");
    assert!(names(&cluster, LEASES).is_empty());

    publish(&[works]);
    restarting(&cluster, 1, "a").await;
    assert_eq!(names(&cluster, LEASES), ["restart-a".to_owned()].into());
}
