//! Waves with canaries, and orders of an administrator.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use image_swap_fleet::FleetSettings;
use image_swap_testkit::{last_good, registry_keys};
use serde_json::{Value, json};
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use crate::{
    fake::{ADMINISTRATOR, FakeServer, Fault},
    fleet::{FLEET, Fleet, REGISTRY_INFO, RELEASE, apply, condition, kubectl, wait_until},
};

const STATE: &str = "/api/v1/namespaces/image-swap-fleet/configmaps/image-swap-fleet-state";
/// Name of the `ConfigMap` with the state of the rollout.
pub(crate) const STATE_NAME: &str = "image-swap-fleet-state";
/// Names of the clusters, the canary first.
pub(crate) const NAMES: [&str; 3] = ["canary", "x", "y"];

/// Interval of the heartbeats of a [`BeatingServer`].
const BEAT: Duration = Duration::from_millis(250);

/// Stand-in that sends heartbeats.
struct BeatingServer {
    server: Arc<FakeServer>,
    /// Number of the declaration in force; 0 for a cluster without heartbeats.
    revision: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl BeatingServer {
    /// Starts a stand-in without heartbeats, and enters it into the inventory.
    async fn start(fleet: &Fleet, name: &str) -> Self {
        let server = Arc::new(FakeServer::start(name).await);
        fleet.enter(name, &server.kubeconfig(ADMINISTRATOR));
        let revision = Arc::new(AtomicU64::new(0));
        let (beating, beats) = (Arc::clone(&server), Arc::clone(&revision));
        let task = tokio::spawn(async move {
            let mut ticks = interval(BEAT);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                match beats.load(SeqCst) {
                    0 => {}
                    revision => beating.beat(&verified(revision)),
                }
            }
        });
        Self { server, revision, task }
    }

    /// Sends heartbeats with the declaration `revision` in force; none for 0.
    fn run(&self, revision: u64) {
        self.revision.store(revision, SeqCst);
    }
}

impl Drop for BeatingServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn waves(settings: &mut FleetSettings) {
    settings.canary = Some("name=canary".parse().unwrap());
    settings.wave_size = 1;
}

/// Sets waves, and a short time after which heartbeats are stale.
fn quick_waves(settings: &mut FleetSettings) {
    waves(settings);
    settings.timing.stale = BEAT * 20;
}

/// Returns the summary of a cluster whose only node has verified the declaration `revision`.
pub(crate) fn verified(revision: u64) -> Value {
    json!({
        "registryInfoRevision": revision, "webhook": "Fail",
        "nodes": { "total": 1, "applied": 1, "verified": 1 },
    })
}

pub(crate) fn order(fleet: &Fleet, annotation: &str) {
    let kind_and_name = ["annotate", "configmap", STATE_NAME];
    let flags = ["--namespace", FLEET, "--overwrite", annotation];
    kubectl(&fleet.planes.hub, &[&kind_and_name[..], &flags].concat());
}

/// Returns the number of the declaration of a cluster.
pub(crate) fn revision(server: &FakeServer) -> Value {
    let secret = server.get(REGISTRY_INFO).unwrap_or_default();
    secret["metadata"]["annotations"]["image-swap.io/revision"].clone()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn failed_canary_stops_the_rollout_until_an_order() {
    let mut fleet = Fleet::prepare(0);
    let mut servers = Vec::new();
    for name in NAMES {
        servers.push(fleet.enter_fake(name).await);
    }
    let [canary, x, y] = &*servers else { panic!("three servers") };
    // A cluster that never answers blocks no wave.
    let silent = FakeServer::start("silent").await;
    silent.misbehave(Some(("/", Fault::Silent)));
    fleet.enter("silent", &silent.kubeconfig(ADMINISTRATOR));
    fleet.lead(waves).await;
    // Waves follow the names of the clusters that are known to answer.
    for name in ["x", "y"] {
        fleet.wait_applied(name, "WaitingForWave");
    }
    for (name, server) in NAMES.iter().zip(&servers) {
        fleet.wait_fake(name, server, 1, "one");
        server.beat(&verified(1));
    }
    fleet.wait_applied("silent", "Unreachable");

    // A failure that ends by itself stops nothing.
    canary.misbehave(Some((REGISTRY_INFO, Fault::Status(500, String::new()))));
    fleet.declare(2, "two");
    fleet.wait_applied("canary", "Failed");
    canary.misbehave(None);
    fleet.wait_fake("canary", canary, 2, "two");
    // The trial of its nodes fails: the others keep the former declaration.
    canary.beat(&json!({
        "registryInfoRevision": 2, "problems": ["node-trial-failed"],
        "nodes": { "total": 1, "applied": 0, "verified": 0 },
    }));
    for name in ["x", "y"] {
        let is_stopped = |status: &Value| {
            let message = condition(status, "Applied")["message"].to_string();
            message.contains("stopped") && message.contains("canary") && message.contains("trial")
        };
        let status = fleet.wait(name, "stopped", is_stopped);
        assert_eq!(condition(&status, "Applied")["reason"], "WaitingForWave");
        assert_eq!(condition(&status, "Healthy")["status"], "True", "{status}");
    }
    let event = fleet.wait_event(FLEET, STATE_NAME, "RolloutStopped");
    assert!(event["note"].as_str().unwrap().contains("canary"), "{event}");
    // Neither the recovery of the cluster nor another leader continues, and an order does.
    canary.beat(&verified(2));
    fleet.lead(waves).await;
    fleet.wait("canary", "healthy", |status| condition(status, "Healthy")["status"] == "True");
    assert!([x, y].iter().all(|it| revision(it) == "1"));
    order(&fleet, "image-swap.io/fleet=resume");
    fleet.wait_fake("x", x, 2, "two");
    assert_eq!(revision(y), "1", "a wave has one cluster");
    x.beat(&verified(2));
    fleet.wait_fake("y", y, 2, "two");
    y.beat(&verified(2));
    wait_until("the order to be removed", || {
        let state = fleet.planes.hub.get(STATE).ok().flatten().unwrap_or_default();
        let order = &state["metadata"]["annotations"]["image-swap.io/fleet"];
        if order.is_null() { Ok(()) } else { Err(order.to_string()) }
    });

    fleet.wait_event(FLEET, STATE_NAME, "RolloutResumed");

    // The fleet is paused, then goes on. A cluster goes back by the number.
    order(&fleet, "image-swap.io/fleet=paused");
    fleet.declare(3, "three");
    let is_paused =
        |status: &Value| condition(status, "Applied")["message"].to_string().contains("paused");
    for name in NAMES {
        fleet.wait(name, "paused", is_paused);
    }
    assert!(servers.iter().all(|it| revision(it) == "2"));
    order(&fleet, "image-swap.io/fleet-");
    for (name, server) in NAMES.iter().zip(&servers) {
        fleet.wait_fake(name, server, 3, "three");
        server.beat(&verified(3));
    }
    fleet.annotate("x", "image-swap.io/fleet=1");
    fleet.wait_fake("x", x, 1, "one");
    fleet.annotate("x", "image-swap.io/fleet=77");
    let status = fleet.wait_applied("x", "Failed");
    assert!(condition(&status, "Applied")["message"].to_string().contains("77"), "{status}");
    assert_eq!(revision(x), "1");
    // The cluster that was away returns, and joins a wave.
    silent.misbehave(None);
    fleet.wait_fake("silent", &silent, 3, "three");
}

/// Declares a registry by a text of which one Secret contains no two.
fn declare_long(fleet: &Fleet, revision: u64, path: &str) {
    let keys = registry_keys(path).into_iter().chain([("NOTE", "x".repeat(500 << 10))]);
    apply(&fleet.planes.hub, &last_good(RELEASE, revision, keys).to_string());
}

/// Waits until `x` waits for a wave, since the controller of the canary does not run.
fn wait_silent(fleet: &Fleet) {
    fleet.wait("x", "stopped", |status| {
        let applied = condition(status, "Applied");
        let message = applied["message"].to_string();
        applied["reason"] == "WaitingForWave"
            && ["stopped", "canary", "heartbeat"].iter().all(|it| message.contains(it))
    });
    let status = fleet.wait("canary", "silent", |status| {
        condition(status, "Healthy")["reason"] == "HeartbeatStale"
    });
    assert_eq!(condition(&status, "Reachable")["status"], "True", "{status}");
    assert!(status["lastError"].to_string().contains("heartbeat"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn canary_without_heartbeats_stops_the_rollout() {
    let mut fleet = Fleet::prepare(0);
    declare_long(&fleet, 1, "one");
    let canary = BeatingServer::start(&fleet, "canary").await;
    let x = BeatingServer::start(&fleet, "x").await;
    fleet.lead(quick_waves).await;
    // The API server of the canary answers, and its controller never starts.
    fleet.wait_fake("canary", &canary.server, 1, "one");
    wait_silent(&fleet);
    assert_eq!(revision(&x.server), Value::Null);
    canary.run(1);
    fleet.wait("canary", "healthy", |status| condition(status, "Healthy")["status"] == "True");
    x.run(1);
    order(&fleet, "image-swap.io/fleet=resume");
    fleet.wait_fake("x", &x.server, 1, "one");
    fleet.wait("x", "healthy", |status| condition(status, "Healthy")["status"] == "True");

    // The next declaration stops the controller of the canary.
    canary.run(0);
    declare_long(&fleet, 2, "two");
    fleet.wait_fake("canary", &canary.server, 2, "two");
    wait_silent(&fleet);
    assert_eq!(revision(&x.server), "1");

    // The history has no room for both declarations. The other cluster keeps its own, also under
    // another fleet controller.
    for _ in [1, 2] {
        x.server.remove(REGISTRY_INFO);
        wait_until("the declaration to be repaired", || {
            let found = revision(&x.server);
            if found == "1" { Ok(()) } else { Err(found.to_string()) }
        });
        fleet.lead(quick_waves).await;
    }
    let status = fleet.wait_applied("x", "WaitingForWave");
    assert_eq!((&status["wantedRevision"], &status["appliedRevision"]), (&json!(2), &json!(1)));
}
