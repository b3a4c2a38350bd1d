//! A replica ends while pods are created.

use std::time::Duration;

use image_swap_core::control::policy::FailurePolicy;

use super::{REGISTRY, ServedCluster};
use crate::{replica::Replica, stream::Stream};

const PATIENCE: Duration = Duration::from_mins(1);

/// A drained node, a rollout and `kubectl delete pod` end a replica by SIGTERM.
// guarantee: 4f
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn stopping_replica_under_load_costs_no_admission() {
    let mut scene = ServedCluster::set(2).await;
    let mut stream = Stream::begin(&scene.cluster.client, REGISTRY);
    stream.more().await;
    // Each replica is replaced as in a rollout, the new one first.
    for _ in 0..2 {
        let new = scene.replica().await;
        let (old, _) = scene.replicas.remove(0);
        scene.replicas.push(new);
        retire(&scene, &old, &mut stream).await;
    }
    // One replica ends without replacement.
    let (old, _) = scene.replicas.remove(0);
    retire(&scene, &old, &mut stream).await;
    stream.end().await.assert_flawless();
}

/// Ends a replica that is no longer among those of the scene, and creates pods after each
/// step.
async fn retire(scene: &ServedCluster, old: &Replica, stream: &mut Stream) {
    // API servers send reviews to a replica that is shutting down …
    old.deregister();
    stream.more().await;
    // … until they have the new Endpoints.
    scene.serve();
    stream.more().await;
    old.drain(PATIENCE).await;
    stream.more().await;
}

/// SIGKILL and a node without power end connections at once.
// guarantee: 4f
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn killed_replica_costs_only_its_open_requests() {
    let mut scene = ServedCluster::set(2).await;
    let mut stream = Stream::begin(&scene.cluster.client, REGISTRY);
    stream.more().await;
    let (old, _) = scene.replicas.remove(0);
    old.stop();
    // Until the Endpoints change, the API server sends some reviews to the dead replica. Their pods
    // are refused, and no pod is admitted without review.
    stream.more().await;
    scene.serve();
    stream.more().await;
    // With the new Endpoints no pod is refused.
    let tally = stream.end().await;
    tally.assert_none_wrong();
    for reason in &tally.refused {
        assert!(reason.contains("failed calling webhook"), "{reason}");
    }
    let mut after = Stream::begin(&scene.cluster.client, REGISTRY);
    after.more().await;
    after.end().await.assert_flawless();
    assert_eq!(scene.controller().report.borrow().policy.failure_policy, Some(FailurePolicy::Fail));
}
