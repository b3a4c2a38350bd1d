//! Clusters that send heartbeats again and again.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};

use hyper::{Method, Request};
use image_swap_cluster::client;
use image_swap_core::fleet::inventory::ClusterSource;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    client::Body,
};
use serde_json::{Value, json};

use crate::{
    fake::{ADMINISTRATOR, FakeServer},
    fleet::{Fleet, apply, condition, wait_until},
    hub::NAMESPACE,
};

const SUMMARY: &str = "image-swap.io/summary";
const LEASE: &str = "pulled.heartbeat";
const REPORTS: &str = "/apis/image-swap.io/v1alpha1/namespaces/clusters/workloadclusters";
/// Number of heartbeats of each cluster.
const BEATS: usize = 300;
/// Heartbeats for which a write of the report is allowed, far more than a machine sends in a second
/// while it compiles.
const SHARE: usize = 4;

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
    let pulls = |settings: &mut image_swap_fleet::FleetSettings| {
        settings.sources.sources.insert(ClusterSource::Pull);
    };
    fleet.lead_by(&counted(&administrator, &counts), pulls).await;
    fleet.wait_declared(0, 1, "one");
    fleet.wait_fake("flood", &server, 1, "one");
    let before = ["flood.kubeconfig", "pulled.pull"].map(|name| writes(&counts, name));

    let leases: Api<Lease> = Api::namespaced(administrator, NAMESPACE);
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
    is_ended.store(true, SeqCst);
    flood.await.unwrap();

    let sent = sent.load(SeqCst);
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
