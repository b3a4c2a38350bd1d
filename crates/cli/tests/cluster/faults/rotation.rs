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

/// The writes of a rotation: new authority, its publication, new certificate, removal of the old
/// authority, its publication.
const WRITES: usize = 5;

/// A clock that the test moves ahead. A controller reads it once in each reconciliation.
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

    /// Lets the controller reconcile, and moves the clock between reconciliations, until `come` is
    /// true. Certificates from a clock that is a little ahead are valid all the same.
    async fn run(&self, stream: &mut Stream, come: impl Fn() -> bool) {
        loop {
            let turns = self.turns.load(Ordering::SeqCst);
            // One reconciliation may be under way, so two of them include a whole one.
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
async fn killed_rotation_costs_no_admission() {
    let mut scene = ServedCluster::set(2).await;
    drop(scene.controller.take());
    let mut stream = Stream::begin(&scene.cluster.client, REGISTRY);
    for writes in 1..=WRITES {
        let old = due(&scene, &mut stream).await;

        // The first controller is killed after `writes` writes.
        let cut = Cut::after(writes);
        let client = cut.client(scene.cluster.control_plane.kubeconfig()).await;
        let (killed, clock) = controller(&client, "killed").await;
        let over = cut.is_over();
        clock.run(&mut stream, || *over.borrow()).await;
        drop(killed);
        // Replicas are replaced, so that new connections use the present certificate.
        replace(&mut scene, &mut stream).await;

        // The next controller continues the rotation.
        let (next, clock) = controller(&scene.cluster.client, "next").await;
        clock.run(&mut stream, || is_done(&scene, &old)).await;
        drop(next);
        replace(&mut scene, &mut stream).await;
    }
    stream.end().await.assert_flawless();
}

/// Starts a controller that leads, with a clock of its own.
async fn controller(client: &Client, identity: &str) -> (Running, Clock) {
    let clock = Clock::default();
    let shared_clock = clock.clone();
    let often = Intervals { look: Duration::from_millis(200), ..intervals() };
    let mut running =
        controller_by(client, settings(), identity, often, move || shared_clock.read());
    until(&mut running.leadership, |leads| *leads).await;
    (running, clock)
}

/// Puts an authority in force that is due to be replaced, by the steps of a rotation.
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

/// Returns all objects that a rotation writes.
fn state(scene: &ServedCluster) -> [Value; 3] {
    let data = |name: &str| {
        scene.cluster.get(&format!("{SECRETS}/image-swap-{name}")).unwrap()["data"].clone()
    };
    [data("ca"), data("tls"), bundle(&scene.cluster.registration().unwrap()).into()]
}

/// Returns true if nothing of the old authority is left.
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
