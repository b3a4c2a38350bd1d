//! `WorkloadCluster` objects, and the heartbeats that they report, on a real API server.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader},
    process::{Command, Output, Stdio},
};

use image_swap_core::{
    fleet::inventory::{ClusterKey, ClusterSource, OriginObject},
    status::workload_cluster::{
        ApplyOutcome, ClusterContact, ClusterFacts, WantedDeclaration, WorkloadClusterStatus,
        reason, status_of,
    },
};
use image_swap_fleet::{FleetEvents, FleetOverview, STALE_AFTER, WorkloadClusters, follow};
use image_swap_testbed::Options;
use image_swap_testkit::custom_resource;
use serde_json::{Value, json};

use crate::test_cluster::{NAMESPACE, NAMESPACES, TestCluster, eventually, release, until};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const APPS: &str = "/apis/image-swap.io/v1alpha1/namespaces/apps/workloadclusters";
const NOW: &str = "2026-11-29T10:00:00Z";
const LATER: &str = "2026-11-29T11:00:00Z";

/// Creates the custom resource, and waits until the API server serves it.
async fn define(cluster: &TestCluster) {
    let mut definition = custom_resource("image-swap.io", "WorkloadCluster", &["v1alpha1"]);
    definition["spec"]["names"]["shortNames"] = json!(["wlc"]);
    definition["spec"]["versions"][0]["subresources"] = json!({ "status": {} });
    cluster.request("POST", DEFINITIONS, Some(&definition));
    eventually(|| tokio::task::block_in_place(|| cluster.control_plane.get(APPS).ok().flatten()))
        .await;
}

/// Reads the objects of the release `name`.
async fn load(cluster: &TestCluster, name: &str) -> WorkloadClusters {
    let events = FleetEvents::start(&cluster.client, "fleet", &release());
    WorkloadClusters::load(&cluster.client, name, &["apps".to_owned()], events).await.unwrap()
}

fn key(name: &str) -> ClusterKey {
    ClusterKey { namespace: "apps".into(), source: ClusterSource::Kubeconfig, name: name.into() }
}

/// Creates the Secret that stands for the cluster `name`.
fn origin(cluster: &TestCluster, name: &str) -> OriginObject {
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name } });
    let secret = cluster.request("POST", "/api/v1/namespaces/apps/secrets", Some(&secret));
    let uid = secret["metadata"]["uid"].as_str().unwrap().to_owned();
    OriginObject { api_version: "v1".into(), kind: "Secret".into(), uid }
}

fn status(contact: ClusterContact, now: &str) -> WorkloadClusterStatus {
    let facts = ClusterFacts {
        contact,
        wanted: WantedDeclaration::Revision(2),
        outcome: ApplyOutcome::Complete,
        stored: Some(2),
        ..ClusterFacts::default()
    };
    status_of(&facts, None, now)
}

fn object(cluster: &TestCluster, name: &str) -> Option<Value> {
    cluster.get(&format!("{APPS}/{name}"))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn only_changes_of_status_are_written() {
    let cluster = TestCluster::bare(&Options::default()).await;
    define(&cluster).await;
    let objects = load(&cluster, "hub").await;
    let (one, two) = (origin(&cluster, "one"), origin(&cluster, "two"));
    let reached = status(ClusterContact::Reached, NOW);
    assert!(objects.publish(&key("one"), &one, &reached).await.unwrap());
    assert!(objects.publish(&key("two"), &two, &reached).await.unwrap());
    let stored = object(&cluster, "one.kubeconfig").unwrap();
    let owner = &stored["metadata"]["ownerReferences"][0];
    assert_eq!((&owner["kind"], &owner["name"]), (&json!("Secret"), &json!("one")));
    assert_eq!(owner["uid"], one.uid);
    assert_eq!(stored["spec"]["source"]["name"], "one");
    assert_eq!(stored["status"], serde_json::to_value(&reached).unwrap());

    // Another process writes nothing either.
    for objects in [&objects, &load(&cluster, "hub").await] {
        assert_eq!(objects.status(&key("one")), Some(reached.clone()));
        assert!(!objects.publish(&key("one"), &one, &reached).await.unwrap());
    }
    assert_eq!(object(&cluster, "one.kubeconfig").unwrap(), stored);
    let gone = status(ClusterContact::Unreachable("timed out".into()), LATER);
    assert!(objects.publish(&key("one"), &one, &gone).await.unwrap());
    let changed = object(&cluster, "one.kubeconfig").unwrap();
    assert_eq!(changed["status"], serde_json::to_value(&gone).unwrap());

    // A deleted object returns; that of another release is not noticed.
    cluster.request("DELETE", &format!("{APPS}/one.kubeconfig"), None);
    assert!(objects.publish(&key("one"), &one, &reached).await.unwrap());
    let other = load(&cluster, "other").await;
    assert_eq!(other.status(&key("one")), None);
    assert_eq!(objects.retain([&key("one")], &BTreeSet::new()).await.unwrap(), 1);
    assert_eq!(object(&cluster, "two.kubeconfig"), None);
    assert!(object(&cluster, "one.kubeconfig").is_some());
    assert!(objects.delete(&key("one")).await.unwrap());
    assert!(!objects.delete(&key("one")).await.unwrap());
}

fn fleet_status(cluster: &TestCluster, flags: &[&str]) -> Output {
    tokio::task::block_in_place(|| {
        Command::new(env!("CARGO_BIN_EXE_image-swap"))
            .args(["fleet", "status", "--kubeconfig"])
            .arg(cluster.control_plane.kubeconfig())
            .args(flags)
            .output()
            .unwrap()
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn fleet_status_shows_each_cluster() {
    let cluster = TestCluster::bare(&Options::default()).await;
    let ran = fleet_status(&cluster, &["-A"]);
    assert_eq!(ran.status.code(), Some(2));
    assert!(text(&ran.stderr).contains("fleet.enabled=true"), "{}", text(&ran.stderr));

    define(&cluster).await;
    let ran = fleet_status(&cluster, &["-n", "apps"]);
    assert_eq!(ran.status.code(), Some(0));
    assert!(text(&ran.stdout).contains("0 of 0 clusters in force"), "{}", text(&ran.stdout));

    let objects = load(&cluster, "hub").await;
    let contact = ClusterContact::Unreachable("the connection timed out".into());
    for (name, contact) in [("one", ClusterContact::Reached), ("two", contact)] {
        let origin = origin(&cluster, name);
        objects.publish(&key(name), &origin, &status(contact, NOW)).await.unwrap();
    }
    for place in [&["-A"][..], &["-n", "apps", "-n", "default"]] {
        let ran = fleet_status(&cluster, place);
        let shown = text(&ran.stdout);
        assert_eq!(ran.status.code(), Some(1), "{shown}");
        assert!(shown.starts_with("fleet         0 of 2 clusters in force\n"), "{shown}");
        assert!(shown.contains("1 Unreachable, 1 Updating"), "{shown}");
        assert!(shown.contains("error[Unreachable]: apps/two.kubeconfig"), "{shown}");
        assert!(!shown.contains('\u{1b}'), "{shown}");
    }
    let ran = fleet_status(&cluster, &["-A", "-o", "json"]);
    let overview: FleetOverview = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!((overview.total, overview.in_force, ran.status.code()), (2, 0, Some(1)));
    assert_eq!(overview.clusters[1].state, reason::UNREACHABLE);
    assert_eq!(overview.clusters[0].status, status(ClusterContact::Reached, NOW));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn fleet_watch_shows_progress_until_signal() {
    let cluster = TestCluster::bare(&Options::default()).await;
    define(&cluster).await;
    let objects = load(&cluster, "hub").await;
    let origin = origin(&cluster, "one");
    let publish = async |contact| {
        objects.publish(&key("one"), &origin, &status(contact, NOW)).await.unwrap();
    };
    publish(ClusterContact::Unreachable("the connection timed out".into())).await;
    let mut watch = Command::new(env!("CARGO_BIN_EXE_image-swap"))
        .args(["fleet", "status", "-A", "--watch", "--kubeconfig"])
        .arg(cluster.control_plane.kubeconfig())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(watch.stdout.take().unwrap());
    let mut printed = String::new();
    let mut read = |end: &str| {
        tokio::task::block_in_place(|| {
            while out.read_line(&mut printed).unwrap() > 0 {
                if printed.lines().next_back().is_some_and(|line| line.contains(end)) {
                    return;
                }
            }
            panic!("expected {end}, found {printed}");
        });
    };
    read("error[Unreachable]");
    publish(ClusterContact::Reached).await;
    read("note[Updating]");
    let pid = watch.id().to_string();
    assert!(Command::new("kill").args(["-s", "INT", &pid]).status().unwrap().success());
    assert_eq!(watch.wait().unwrap().code(), Some(1), "{printed}");
    assert_eq!(printed.matches("0 of 1 cluster in force").count(), 2, "{printed}");
    assert_eq!(printed.matches("[..............................] 0 %").count(), 2, "{printed}");
}

// A user of one namespace sees its clusters, and the reason for the other one.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn user_sees_permitted_namespaces() {
    let cluster = TestCluster::bare(&Options::default()).await;
    define(&cluster).await;
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": { "name": "reader" },
        "rules": [{
            "apiGroups": ["image-swap.io"], "resources": ["workloadclusters"], "verbs": ["list"],
        }],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": { "name": "reader" },
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader",
        },
        "subjects": [{ "kind": "ServiceAccount", "name": "reader", "namespace": "apps" }],
    });
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/apps";
    cluster.request("POST", &format!("{rbac}/roles"), Some(&role));
    cluster.request("POST", &format!("{rbac}/rolebindings"), Some(&binding));
    let accounts = format!("{NAMESPACES}/apps/serviceaccounts");
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "reader" },
    });
    cluster.request("POST", &accounts, Some(&account));
    let token = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {},
    });
    let token = cluster.request("POST", &format!("{accounts}/reader/token"), Some(&token));
    let token = token["status"]["token"].as_str().unwrap();
    let mut kubeconfig: Value = {
        let text = std::fs::read_to_string(cluster.control_plane.kubeconfig()).unwrap();
        let file = kube::config::Kubeconfig::from_yaml(&text).unwrap();
        serde_json::to_value(file).unwrap()
    };
    for user in kubeconfig["users"].as_array_mut().unwrap() {
        user["user"] = json!({ "token": token });
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("kubeconfig");
    std::fs::write(&file, kubeconfig.to_string()).unwrap();
    let flags = ["--kubeconfig", file.to_str().unwrap()];
    let run = |places: &[&str]| {
        let verb = Command::new(env!("CARGO_BIN_EXE_image-swap"))
            .args([&["fleet", "status"][..], &flags, places].concat())
            .output();
        verb.unwrap()
    };
    let permitted = ["-n", "apps"];
    eventually(|| {
        let ran = tokio::task::block_in_place(|| run(&permitted));
        (ran.status.code() == Some(0)).then_some(())
    })
    .await;
    let ran = run(&["-n", "apps", "-n", NAMESPACE]);
    let shown = text(&ran.stdout);
    assert_eq!(ran.status.code(), Some(1), "{shown}");
    assert!(
        shown.contains(&format!(
            "unreadable: cannot list workloadclusters in namespace {NAMESPACE}"
        )),
        "{shown}"
    );
    let ran = run(&["-A"]);
    assert_eq!((ran.status.code(), &*ran.stdout), (Some(2), &b""[..]));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn heartbeat_is_followed_by_one_watch() {
    const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/image-swap-system/leases";
    let cluster = TestCluster::bare(&Options::default()).await;
    let (mut state, task) =
        follow(cluster.client.clone(), NAMESPACE, "image-swap-heartbeat", STALE_AFTER);
    let absent = until(&mut state, |it| it.is_watched).await;
    assert!(absent.received.is_none() && absent.summary.is_none());
    let lease = |summary: &str, time: &str| {
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {
                "name": "image-swap-heartbeat",
                "annotations": { "image-swap.io/summary": summary },
            },
            "spec": { "renewTime": time, "holderIdentity": "one" },
        })
    };
    let first = lease(r#"{"hash":"a","later":[1]}"#, "2026-11-29T10:00:00.000000Z");
    cluster.request("POST", LEASES, Some(&first));
    let path = format!("{LEASES}/image-swap-heartbeat");
    let first = until(&mut state, |it| it.received.is_some()).await;
    assert_eq!(first.summary.as_ref().unwrap().hash, "a");
    // Only the time changes, so no receiver is notified.
    let renewed = lease(r#"{"hash":"a"}"#, "2026-11-29T10:01:00.000000Z");
    state.mark_unchanged();
    cluster.request("PATCH", &path, Some(&renewed));
    eventually(|| (state.borrow().received > first.received).then_some(())).await;
    assert!(!state.has_changed().unwrap());
    let broken = lease("no JSON", "2026-11-29T10:02:00.000000Z");
    cluster.request("PATCH", &path, Some(&broken));
    until(&mut state, |it| it.summary.is_none()).await;
    drop(state);
    task.await.unwrap();
}
