//! Clusters that send heartbeats again and again.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use hyper::{Method, Request};
use image_swap_cluster::{client, secret::hash};
use image_swap_core::{
    control::effective::{Effective, Origin, SecretData},
    fleet::inventory::ClusterSource,
};
use image_swap_fleet::FleetSettings;
use image_swap_text::base64;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    client::Body,
};
use serde_json::{Value, json};

use crate::{
    fake::{ADMINISTRATOR, FakeServer, Fault},
    fleet::{Fleet, REGISTRY_INFO, apply, condition, wait_until},
    hub::NAMESPACE,
    removal::start_controller,
};

const SUMMARY: &str = "image-swap.io/summary";
const LEASE: &str = "pulled.heartbeat";
const REPORTS: &str = "/apis/image-swap.io/v1alpha1/namespaces/clusters/workloadclusters";
/// Number of heartbeats of each cluster.
const BEATS: usize = 300;
/// Heartbeats for which a write of the report is allowed, far more than a machine sends in a second
/// while it compiles.
const SHARE: usize = 4;

/// Number of reports after which the comparisons are counted. A heartbeat that is read causes one.
const REPORTED: usize = 10;

/// Numbers of writes on the management cluster, by path.
type WriteCounts = Arc<Mutex<BTreeMap<String, usize>>>;

/// Returns `client` with a count of its writes.
fn counted(client: &Client, counts: &WriteCounts) -> Client {
    let (client, counts) = (client.clone(), Arc::clone(counts));
    let service = tower::service_fn(move |request: Request<Body>| {
        if request.method() != Method::GET {
            let path = request.uri().path().to_owned();
            *counts.lock().unwrap().entry(path).or_default() += 1;
        }
        let client = client.clone();
        async move { client.send(request).await }
    });
    Client::new(service, "default")
}

/// Returns the number of writes of the report `name` and its status.
fn writes(counts: &WriteCounts, name: &str) -> usize {
    let prefix = format!("{REPORTS}/{name}");
    let counts = counts.lock().unwrap();
    counts.iter().filter(|(path, _)| path.starts_with(&prefix)).map(|(_, number)| number).sum()
}

/// Creates the objects of a cluster that pulls.
fn enroll(fleet: &Fleet) {
    for object in [
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": { "name": LEASE, "namespace": NAMESPACE },
        }),
        json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {
                "name": "pulled.declaration", "namespace": NAMESPACE,
                "labels": { "image-swap.io/fleet-cluster": "pull" },
            },
        }),
    ] {
        apply(&fleet.planes.hub, &object.to_string());
    }
}

/// Returns a summary that differs from that of every other `number`. Some are longer than a summary
/// may be.
fn summary(number: usize) -> Value {
    let length = if number.is_multiple_of(7) { 20_000 } else { 15_000 };
    json!({
        "registryInfoRevision": number, "hash": "x".repeat(length),
        "clusterUid": format!("{:08x}-0000-4000-8000-000000000000", number % 3),
        "webhook": if number.is_multiple_of(2) { "Fail" } else { "Ignore" },
        "podsNotFromMirror": number, "problems": ["unreached"],
    })
}

async fn renew(leases: &Api<Lease>, summary: &Value) {
    let lease = json!({ "metadata": { "annotations": { SUMMARY: summary.to_string() } } });
    leases.patch_metadata(LEASE, &PatchParams::default(), &Patch::Merge(&lease)).await.unwrap();
}

/// Covers clusters of both kinds: one renews its Lease on the management cluster, the other has a
/// Lease of its own.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn flood_of_heartbeats_causes_few_writes() {
    let mut fleet = Fleet::prepare(1);
    fleet.enter("a", &fleet.planes.workloads[0].administrator_kubeconfig().unwrap());
    let server = Arc::new(FakeServer::start("flood").await);
    fleet.enter("flood", &server.kubeconfig(ADMINISTRATOR));
    enroll(&fleet);
    let administrator = client(Some(fleet.planes.hub.kubeconfig())).await.unwrap();
    let counts = WriteCounts::default();
    let pulls = |settings: &mut FleetSettings| {
        settings.sources.sources.insert(ClusterSource::Pull);
        settings.timing.compare = Duration::from_hours(1);
    };
    fleet.lead_by(&counted(&administrator, &counts), pulls).await;
    fleet.wait_declared(0, 1, "one");
    fleet.wait_fake("flood", &server, 1, "one");
    let before = ["flood.kubeconfig", "pulled.pull"].map(|name| writes(&counts, name));

    let leases: Api<Lease> = Api::namespaced(administrator, NAMESPACE);
    let compared = reads(&server, REGISTRY_INFO);
    let (sent, is_ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let flood = {
        let (server, leases) = (Arc::clone(&server), leases.clone());
        let (sent, is_ended) = (Arc::clone(&sent), Arc::clone(&is_ended));
        tokio::spawn(async move {
            while !is_ended.load(SeqCst) {
                let summary = summary(sent.load(SeqCst));
                server.beat(&summary);
                renew(&leases, &summary).await;
                sent.fetch_add(1, SeqCst);
            }
        })
    };
    let wait_sent = |number: usize| {
        wait_until("heartbeats", || {
            let sent = sent.load(SeqCst);
            if sent >= number { Ok(()) } else { Err(sent.to_string()) }
        });
    };
    // Another cluster gets a declaration meanwhile.
    wait_sent(BEATS / 4);
    fleet.declare(2, "two");
    fleet.wait_declared(0, 2, "two");
    assert!(!flood.is_finished());
    wait_sent(BEATS);
    wait_until("reports", || {
        let written = writes(&counts, "flood.kubeconfig") - before[0];
        if written >= REPORTED { Ok(()) } else { Err(written.to_string()) }
    });
    is_ended.store(true, SeqCst);
    flood.await.unwrap();

    let sent = sent.load(SeqCst);
    // Full comparisons have a pace of their own.
    let compared = reads(&server, REGISTRY_INFO) - compared;
    let written = writes(&counts, "flood.kubeconfig") - before[0];
    assert!(compared * 2 <= written, "{compared} comparisons, {written} reports, {sent} beats");
    for (name, before) in ["flood.kubeconfig", "pulled.pull"].into_iter().zip(before) {
        let written = writes(&counts, name) - before;
        assert!(written > 0 && written * SHARE <= sent, "{name}: {written} writes, {sent} beats");
    }
    // The latest heartbeat counts.
    let latest = json!({
        "registryInfoRevision": 2, "webhook": "Fail", "podsNotFromMirror": 7,
        "clusterUid": "0000000a-0000-4000-8000-000000000000",
    });
    server.beat(&latest);
    renew(&leases, &latest).await;
    for name in ["flood.kubeconfig", "pulled.pull"] {
        wait_until(&format!("the latest heartbeat of {name}"), || {
            let path = format!("{REPORTS}/{name}");
            let found = fleet.planes.hub.get(&path).ok().flatten().unwrap_or_default();
            let status = &found["status"];
            let is_latest = status["podsNotFromMirror"] == 7
                && condition(status, "Healthy")["status"] == "True";
            if is_latest { Ok(()) } else { Err(found.to_string()) }
        });
    }
}

/// Returns the number of reads of the object at `path`.
fn reads(server: &FakeServer, path: &str) -> usize {
    server.requests().iter().filter(|it| it.method == "GET" && it.path == path).count()
}

/// Starts a fleet controller that compares a cluster only if a heartbeat causes it, with the
/// declaration 1 in force on a stand-in.
async fn with_stand_in(stale: Duration) -> (Fleet, FakeServer) {
    let mut fleet = Fleet::prepare(0);
    let server = fleet.enter_fake("one").await;
    let rarely = |settings: &mut FleetSettings| {
        settings.timing.compare = Duration::from_hours(1);
        settings.timing.stale = stale;
    };
    fleet.lead(rarely).await;
    fleet.wait_fake("one", &server, 1, "one");
    (fleet, server)
}

/// Returns the hash by which a controller reports the Secret `registry-info`.
fn reported_hash(secret: &Value) -> String {
    let mut data = BTreeMap::new();
    for (key, value) in secret["data"].as_object().unwrap() {
        data.insert(key.clone(), base64::decode(value.as_str().unwrap()).unwrap());
    }
    let kind = secret["type"].as_str().unwrap().to_owned();
    let effective = Effective { origin: Origin::RegistryInfo, secret: SecretData { kind, data } };
    hash(&effective.without_credentials().text())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn deleted_or_edited_declaration_is_restored() {
    let (fleet, server) = with_stand_in(Duration::from_mins(3)).await;
    let stored = server.get(REGISTRY_INFO).unwrap();
    let summary =
        |hash: &str| json!({ "registryInfoRevision": 1, "hash": hash, "webhook": "Fail" });
    let healthy = summary(&reported_hash(&stored));
    let is_healthy = |status: &Value| condition(status, "Healthy")["status"] == "True";
    server.beat(&healthy);
    fleet.wait("one", "healthy", is_healthy);

    let edited = json!({ "MIRROR_REGISTRIES": base64::encode("quay.io::other.example.org") });
    server.edit(REGISTRY_INFO, |secret| secret["data"] = edited);
    let found = reported_hash(&server.get(REGISTRY_INFO).unwrap());
    server.beat(&summary(&found));
    let updating = |status: &Value| {
        let message = condition(status, "Healthy")["message"].to_string();
        message.contains("an edited declaration is in force")
    };
    fleet.wait("one", "edited", updating);
    wait_until("the edited declaration to be restored", || {
        let found = server.get(REGISTRY_INFO).unwrap_or_default();
        if found["data"] == stored["data"] { Ok(()) } else { Err(found.to_string()) }
    });
    server.beat(&healthy);
    fleet.wait("one", "healthy again", is_healthy);

    server.delete(REGISTRY_INFO);
    server.beat(&json!({ "webhook": "Fail" }));
    wait_until("the deleted declaration to be restored", || {
        server.get(REGISTRY_INFO).map(|_| ()).ok_or_else(String::new)
    });
    server.beat(&healthy);
    fleet.wait("one", "healthy at last", is_healthy);
}

/// Covers a real controller, whose heartbeat has the hash.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn running_controller_reports_a_changed_declaration() {
    let mut fleet = Fleet::prepare(1);
    fleet.enter("a", &fleet.planes.workloads[0].administrator_kubeconfig().unwrap());
    fleet.lead(|settings| settings.timing.compare = Duration::from_hours(1)).await;
    fleet.wait_declared(0, 1, "one");
    let workload = &fleet.planes.workloads[0];
    let _controller = start_controller(workload).await;
    let stored = workload.get(REGISTRY_INFO).unwrap().unwrap();
    let hash = reported_hash(&stored);
    let heartbeat =
        "/apis/coordination.k8s.io/v1/namespaces/image-swap/leases/image-swap-heartbeat";
    let wait_reported = || {
        fleet.wait_object(0, heartbeat, |lease| {
            let summary = lease.and_then(|it| it["metadata"]["annotations"][SUMMARY].as_str());
            let summary: Value = serde_json::from_str(summary.unwrap_or("{}")).unwrap();
            summary["registryInfoRevision"] == 1 && summary["hash"] == *hash
        });
        fleet.wait("a", "known by its heartbeat", |status| {
            let healthy = condition(status, "Healthy");
            !["NoHeartbeat", "NotConnected", ""].map(Value::from).contains(&healthy["reason"])
        });
    };
    let wait_restored = || {
        let is_same = |it: Option<&Value>| it.is_some_and(|it| it["data"] == stored["data"]);
        fleet.wait_object(0, REGISTRY_INFO, is_same);
    };
    wait_reported();
    workload.request("DELETE", REGISTRY_INFO, None).unwrap();
    wait_restored();
    wait_reported();
    let edited = json!({ "stringData": { "MIRROR_REGISTRIES": "quay.io::other.example.org" } });
    workload.request("PATCH", REGISTRY_INFO, Some(&edited)).unwrap();
    wait_restored();
    wait_reported();

    // The management cluster is gone for ever: the last declaration stays in force.
    fleet.kill().await;
    let wait_hash = |revision: Option<u64>, hash: &str| {
        fleet.wait_object(0, heartbeat, |lease| {
            let summary = lease.and_then(|it| it["metadata"]["annotations"][SUMMARY].as_str());
            let summary: Value = serde_json::from_str(summary.unwrap_or("{}")).unwrap();
            summary["registryInfoRevision"] == json!(revision) && summary["hash"] == hash
        });
    };
    let workload = &fleet.planes.workloads[0];
    workload.request("DELETE", REGISTRY_INFO, None).unwrap();
    wait_hash(None, &hash);
    // A declaration of an administrator takes its place, and its deletion is a removal.
    let own = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": { "name": "registry-info", "namespace": "jet-system" },
        "data": stored["data"],
    });
    apply(workload, &own.to_string());
    let last_good = "/api/v1/namespaces/image-swap/secrets/image-swap-last-good";
    fleet.wait_object(0, last_good, |secret| {
        let annotations = secret.map(|it| &it["metadata"]["annotations"]);
        annotations.is_some_and(|it| it["image-swap.io/declared-by"] == "")
    });
    workload.request("DELETE", REGISTRY_INFO, None).unwrap();
    wait_hash(None, "");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn lost_heartbeat_causes_a_comparison() {
    let (fleet, server) = with_stand_in(Duration::from_secs(8)).await;
    server.beat(&json!({ "registryInfoRevision": 1, "webhook": "Fail" }));
    fleet.wait("one", "healthy", |status| condition(status, "Healthy")["status"] == "True");
    server.delete(REGISTRY_INFO);
    fleet
        .wait("one", "silent", |status| condition(status, "Healthy")["reason"] == "HeartbeatStale");
    wait_until("the deleted declaration to be restored", || {
        server.get(REGISTRY_INFO).map(|_| ()).ok_or_else(String::new)
    });
}

/// Returns the number of contacts by the credential of the inventory.
fn contacts(server: &FakeServer) -> usize {
    let path = "/api/v1/namespaces/kube-system";
    let requests = server.requests();
    requests.iter().filter(|it| it.path == path && it.token == ADMINISTRATOR).count()
}

/// Sends a heartbeat of the cluster `name`, and waits until the fleet controller has taken it.
fn beat(fleet: &Fleet, name: &str, server: &FakeServer, pods: u32) {
    server.beat(&json!({ "registryInfoRevision": 1, "podsNotFromMirror": pods }));
    fleet.wait(name, "read by its heartbeat", |status| status["podsNotFromMirror"] == pods);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn refused_watch_renews_the_connection() {
    let (fleet, revoked) = with_stand_in(Duration::from_mins(3)).await;
    let forbidden = FakeServer::start("two").await;
    fleet.enter("two", &forbidden.kubeconfig(ADMINISTRATOR));
    fleet.wait_fake("two", &forbidden, 1, "one");
    beat(&fleet, "one", &revoked, 1);
    beat(&fleet, "two", &forbidden, 1);
    let before = [&revoked, &forbidden].map(contacts);
    // The token of one cluster is revoked, that of the other has lost its permissions.
    revoked.refuse(|token| token != ADMINISTRATOR);
    let path = "/apis/coordination.k8s.io";
    forbidden.misbehave(Some((path, Fault::Status(403, String::new()))));
    for (server, before) in [&revoked, &forbidden].into_iter().zip(before) {
        wait_until("a contact by the credential of the inventory", || {
            let found = contacts(server);
            if found > before { Ok(()) } else { Err(found.to_string()) }
        });
    }
    forbidden.misbehave(None);
    beat(&fleet, "one", &revoked, 2);
    beat(&fleet, "two", &forbidden, 2);
}
