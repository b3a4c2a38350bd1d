//! The status of a release, as `image-swap status` reads it.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Stdio},
    sync::Arc,
};

use image_swap_cluster::{
    Error, Release,
    status::{ReleaseStatus, find, status},
};
use image_swap_core::{control::effective::Origin, control::policy::FailurePolicy};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};

use crate::{
    replica::Replica,
    service::address,
    test_cluster::{
        ANCHORS, JET_SECRETS, NAMESPACE, TestCluster, keys, pod, release, settings, until,
    },
};

const PODS: &str = "/api/v1/namespaces/image-swap-system/pods";
const APPS: &str = "/api/v1/namespaces/apps/pods";

/// Sets the status of the replicas' Deployment, as its controller would.
fn deploy(cluster: &TestCluster, wanted: u32, ready: u32) {
    let labels = json!({ "app.kubernetes.io/component": "admission" });
    let deployments = format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments");
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "image-swap-admission" },
        "spec": {
            "replicas": wanted,
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{
                    "name": "admission", "image": "image-swap",
                    "args": ["--exempt-images=placeholder:1"],
                }] },
            },
        },
    });
    let path = format!("{deployments}/image-swap-admission");
    if cluster.get(&path).is_none() {
        cluster.request("POST", &deployments, Some(&deployment));
    }
    let status = json!({ "status": { "replicas": wanted, "readyReplicas": ready } });
    cluster.request("PATCH", &format!("{path}/status"), Some(&status));
}

/// Creates the pod of `replica` with the status that its kubelet would report.
fn run(cluster: &TestCluster, name: &str, replica: &Arc<Replica>) {
    let ports = json!([{ "name": "admin", "containerPort": replica.admin_port() }]);
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": { "app.kubernetes.io/component": "admission", "image-swap.io/exempt": "true" },
        },
        "spec": {
            "automountServiceAccountToken": false,
            "containers": [{ "name": "admission", "image": "image-swap", "ports": ports }],
        },
    });
    cluster.request("POST", PODS, Some(&pod));
    let status = json!({ "status": {
        "phase": "Running", "podIP": address(), "podIPs": [{ "ip": address() }],
        "conditions": [{ "type": "Ready", "status": "True" }],
    } });
    cluster.request("PATCH", &format!("{PODS}/{name}/status"), Some(&status));
}

/// Creates `pod` with the status of a running pod.
fn running(cluster: &TestCluster, pod: &Value) {
    let stored = cluster.request("POST", APPS, Some(pod));
    let path = format!("{APPS}/{}/status", stored["metadata"]["name"].as_str().unwrap());
    cluster.request("PATCH", &path, Some(&json!({ "status": { "phase": "Running" } })));
}

fn codes(status: &ReleaseStatus) -> Vec<&str> {
    status.problems.iter().map(|problem| problem.code.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn status_shows_declaration_replicas_and_running_pods() {
    let cluster = TestCluster::set().await;
    // A pod from before the installation keeps its image.
    running(&cluster, &pod());
    let mut exempt = pod();
    exempt["spec"]["containers"][0]["image"] = "placeholder:1".into();
    running(&cluster, &exempt);
    let mut controller = cluster.controller(settings(), "one");
    let (first, _following) = cluster.replica().await;
    let (second, following) = cluster.replica().await;
    cluster.serve_at(first.port());
    until(&mut controller.report, |it| it.policy.failure_policy == Some(FailurePolicy::Fail)).await;
    until(&mut first.served(), Option::is_some).await;
    until(&mut second.served(), Option::is_some).await;
    deploy(&cluster, 2, 2);
    run(&cluster, "first", &first);
    run(&cluster, "second", &second);

    // Nothing is declared, and the release is healthy.
    assert_eq!(find(&cluster.client).await.unwrap(), [release()]);
    let seen = status(&cluster.client, &release()).await.unwrap();
    assert!(seen.healthy && seen.unreadable.is_empty(), "{seen:#?}");
    assert_eq!(seen.notes, ["nothing is declared: no image is swapped"]);
    assert_eq!(seen.leader.as_ref().unwrap().holder, "one");
    let replicas = seen.replicas.unwrap();
    assert_eq!((replicas.wanted, replicas.ready), (2, 2));
    assert!(replicas.pods.iter().all(|it| it.ready && it.answer.is_some()), "{:?}", replicas.pods);

    // One of the replicas does not receive the new declaration.
    drop(following);
    cluster.declare(JET_SECRETS, "registry-info", &keys("page.example.org"));
    until(&mut first.served(), |it| it.as_ref().is_some_and(|it| !it.hash.is_empty())).await;
    until(&mut controller.report, |it| {
        it.declaration.source == Origin::RegistryInfo
            && it.registry.as_ref().is_some_and(|it| it.domain == "page.example.org")
    })
    .await;
    running(&cluster, &pod());
    deploy(&cluster, 2, 1);
    let seen = status(&cluster.client, &release()).await.unwrap();
    // The declared registry does not exist.
    assert_eq!(codes(&seen), ["registry-unhealthy", "replicas-missing", "replica-behind"]);
    let hash = seen.report.as_ref().unwrap().declaration.hash.clone();
    let serves = |nth: usize| {
        seen.replicas.as_ref().unwrap().pods[nth].answer.as_ref().unwrap().hash.clone()
    };
    assert_eq!([serves(0), serves(1)], [hash, String::new()]);
    let pods = seen.pods.as_ref().unwrap();
    let docker = pods.iter().find(|row| row.registry == "docker.io").unwrap();
    // Replicas and the exempt image count as unswapped pods too.
    assert_eq!((docker.swapped, docker.unswapped, docker.outdated), (1, 4, 1));
    assert!(seen.notes.iter().any(|note| note.starts_with("1 running pods")), "{:?}", seen.notes);
    let json = serde_json::to_string(&seen).unwrap();
    assert!(!json.contains("s3cret"), "{json}");

    // A replica that cannot be queried is reported with the error.
    second.stop();
    let seen = status(&cluster.client, &release()).await.unwrap();
    let silent = &seen.replicas.as_ref().unwrap().pods[1];
    assert!(silent.answer.is_none() && silent.error.is_some(), "{silent:?}");
    assert!(seen.notes.iter().any(|note| note == "cannot query 1 of 2 replicas"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn configured_nodes_are_counted() {
    let cluster = TestCluster::set().await;
    let mut controller = cluster.controller(settings(), "one");
    until(&mut controller.report, |it| !it.version.is_empty()).await;
    for name in ["a", "b"] {
        let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name } });
        cluster.request("POST", "/api/v1/nodes", Some(&node));
    }
    let mut declared = keys("page.example.org");
    declared.insert("INSECURE", "true".into());
    cluster.declare(JET_SECRETS, "registry-info", &declared);
    let report = until(&mut controller.report, |it| !it.trust.is_empty()).await;
    for (name, configured) in [("a", 1), ("b", 2)] {
        let mark =
            json!({ "metadata": { "annotations": { "image-swap.io/trusts": report.trust } } });
        cluster.request("PATCH", &format!("/api/v1/nodes/{name}"), Some(&mark));
        let seen = status(&cluster.client, &release()).await.unwrap();
        assert_eq!(seen.nodes.unwrap().configured, configured);
        let is_noted = seen.notes.iter().any(|note| note.contains("1 of 2 nodes are marked"));
        assert_eq!(is_noted, configured == 1, "{:?}", seen.notes);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn status_lists_unreadable_objects() {
    let cluster = TestCluster::set().await;
    let mut controller = cluster.controller(settings(), "one");
    until(&mut controller.report, |it| it.policy.registered).await;
    let other = Release { name: "other".into(), ..release() };
    let found = status(&cluster.client, &other).await;
    assert!(matches!(found, Err(Error::NoRelease { .. })), "{found:?}");

    let file = Kubeconfig::read_from(cluster.control_plane.kubeconfig()).unwrap();
    let mut config =
        Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
    config.auth_info.impersonate = Some("nobody".into());
    let anonymous = Client::try_from(config).unwrap();
    assert!(find(&anonymous).await.unwrap().is_empty());
    let seen = status(&anonymous, &release()).await.unwrap();
    assert!(seen.report.is_none() && seen.pods.is_none());
    assert_eq!(seen.unreadable.len(), 8, "{:?}", seen.unreadable);
    assert!(seen.unreadable.iter().all(|it| it.contains("forbidden")), "{:?}", seen.unreadable);
    // Unknown health is a problem.
    assert_eq!(codes(&seen), ["unread"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn watch_prints_each_change_until_a_signal() {
    let cluster = TestCluster::set().await;
    deploy(&cluster, 2, 1);
    for output in ["json", "text"] {
        let mut watch = Command::new(env!("CARGO_BIN_EXE_image-swap"))
            .args(["status", "--watch", "-n", NAMESPACE, "--name", "image-swap", "-o", output])
            .arg("--kubeconfig")
            .arg(cluster.control_plane.kubeconfig())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(watch.stdout.take().unwrap());
        let mut printed = String::new();
        // The first line of each status.
        let mut read = |is_end: &dyn Fn(&str) -> bool| {
            tokio::task::block_in_place(|| {
                while out.read_line(&mut printed).unwrap() > 0 {
                    if printed.lines().next_back().is_some_and(is_end) {
                        break;
                    }
                }
            });
        };
        let mark = |leaving: &str| {
            let anchor =
                json!({ "metadata": { "annotations": { "image-swap.io/leaving": leaving } } });
            cluster.request("PATCH", &format!("{ANCHORS}/image-swap"), Some(&anchor));
        };
        let is_leaving = |line: &str| {
            line.starts_with("error[leaving]") || line.contains("\"code\":\"leaving\"")
        };
        read(&|_| true);
        mark("true");
        read(&is_leaving);
        mark("false");
        read(&|line| line.starts_with("release") || line.starts_with('{'));
        let pid = watch.id().to_string();
        assert!(Command::new("kill").args(["-s", "INT", &pid]).status().unwrap().success());
        // The release has problems: the replicas have no controller.
        assert_eq!(watch.wait().unwrap().code(), Some(1), "{printed}");
        tokio::task::block_in_place(|| out.read_to_string(&mut printed).unwrap());
        if output == "json" {
            let statuses = printed.lines().map(|line| serde_json::from_str(line).unwrap());
            let leaving: Vec<bool> = statuses.map(|it: ReleaseStatus| it.leaving).collect();
            assert_eq!(leaving, [false, true, false]);
        } else {
            assert_eq!(printed.matches("\n\nrelease ").count(), 2, "{printed}");
            assert!(!printed.contains('\u{1b}'), "{printed}");
        }
    }
}
