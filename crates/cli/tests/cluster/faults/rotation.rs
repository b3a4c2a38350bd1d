//! A controller is killed in the middle of a rotation.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use image_swap_cluster::Intervals;
use image_swap_core::control::certificates::{BACKDATE, SETTLE};
use kube::Client;
use serde_json::Value;

use super::{
    REGISTRY, ServedCluster,
    certificates::{DAY, Planted, publish},
    cut::Cut,
};
use crate::{
    stream::Stream,
    test_cluster::{Running, SECRETS, controller_by, eventually, intervals, now, settings, until},
};

/// New authority, published, new leaf, old authority forgotten, published.
const WRITES: usize = 5;

/// A clock that runs ahead as it is told. Each turn of a controller reads it once.
#[derive(Clone, Default)]
struct Clock {
    ahead: Arc<AtomicU64>,
    turns: Arc<AtomicU64>,
}

impl Clock {
    fn read(&self) -> u64 {
        self.turns.fetch_add(1, Ordering::SeqCst);
        now() + self.ahead.load(Ordering::SeqCst)
    }

    /// Lets the controller take its turns, and time pass between them, until
    /// something has `come`. What is made ahead of time is valid all the same,
    /// if it is not far.
    async fn run(&self, stream: &mut Stream, come: impl Fn() -> bool) {
        loop {
            let turns = self.turns.load(Ordering::SeqCst);
            // The one that may be under way, and a whole one.
            let is_over = || self.turns.load(Ordering::SeqCst) > turns + 2;
            eventually(|| (is_over() || come()).then_some(())).await;
            stream.more().await;
            if come() {
                return;
            }
            let ahead = self.ahead.fetch_add(SETTLE + 1, Ordering::SeqCst);
            assert!(ahead + SETTLE < BACKDATE, "it takes too long");
        }
    }
}

// guarantee: 4e
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn a_controller_killed_after_any_write_of_a_rotation_costs_no_admission() {
    let mut scene = ServedCluster::set(2).await;
    drop(scene.controller.take());
    let mut stream = Stream::begin(&scene.cluster.client, REGISTRY);
    for writes in 1..=WRITES {
        let old = due(&scene, &mut stream).await;

        // One is killed after so many writes.
        let cut = Cut::after(writes);
        let client = cut.client(scene.cluster.control_plane.kubeconfig()).await;
        let (killed, clock) = controller(&client, "killed").await;
        let over = cut.is_over();
        clock.run(&mut stream, || *over.borrow()).await;
        drop(killed);
        // New connections meet what is there now: replicas are replaced.
        replace(&mut scene, &mut stream).await;

        // The next one goes on from there.
        let (next, clock) = controller(&scene.cluster.client, "next").await;
        clock.run(&mut stream, || is_done(&scene, &old)).await;
        drop(next);
        replace(&mut scene, &mut stream).await;
    }
    stream.end().await.assert_flawless();
}

/// A controller that leads, and its clock.
async fn controller(client: &Client, identity: &str) -> (Running, Clock) {
    let clock = Clock::default();
    let ours = clock.clone();
    let often = Intervals { look: Duration::from_millis(200), ..intervals() };
    let mut running = controller_by(client, settings(), identity, often, move || ours.read());
    until(&mut running.leadership, |leads| *leads).await;
    (running, clock)
}

/// Puts an authority in force, in the order of a rotation, that is due to be replaced.
async fn due(scene: &ServedCluster, stream: &mut Stream) -> String {
    let authority = (now() - 300 * DAY, now() + 65 * DAY);
    let leaf = (now() - 60, now() + 30 * DAY);
    let planted = Planted::new(authority, leaf);
    let registration = scene.cluster.registration().unwrap();
    let bundle = bundle(&registration);
    publish(&scene.cluster, &[&bundle, &planted.authority]);
    stream.more().await;
    let counts: Vec<u32> =
        scene.replicas.iter().map(|(replica, _)| *replica.certificates().borrow()).collect();
    planted.store_leaf(&scene.cluster);
    for ((replica, _), count) in scene.replicas.iter().zip(counts) {
        until(&mut replica.certificates(), |now| *now > count).await;
    }
    stream.more().await;
    planted.store_authority(&scene.cluster);
    publish(&scene.cluster, &[&planted.authority]);
    stream.more().await;
    planted.authority
}

fn bundle(registration: &Value) -> String {
    let text = registration["webhooks"][0]["clientConfig"]["caBundle"].as_str().unwrap();
    String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()
}

/// Everything that a rotation writes.
fn state(scene: &ServedCluster) -> [Value; 3] {
    let data = |name: &str| {
        scene.cluster.get(&format!("{SECRETS}/image-swap-{name}")).unwrap()["data"].clone()
    };
    [data("ca"), data("tls"), bundle(&scene.cluster.registration().unwrap()).into()]
}

/// Whether nothing is left of the old authority.
fn is_done(scene: &ServedCluster, old: &str) -> bool {
    let [authority, leaf, bundle] = state(scene);
    let one = |value: &Value, key: &str| {
        let text = value[key].as_str().unwrap_or_default();
        String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()
    };
    let new = one(&authority, "tls.crt");
    new != old
        && authority.get("previous.crt").is_none()
        && one(&leaf, "ca.crt") == new
        && bundle == new.as_str()
}

async fn replace(scene: &mut ServedCluster, stream: &mut Stream) {
    let new = scene.replica().await;
    let (old, _) = scene.replicas.remove(0);
    scene.replicas.push(new);
    old.deregister();
    scene.serve();
    stream.more().await;
    old.drain(Duration::from_mins(1)).await;
    stream.more().await;
}
