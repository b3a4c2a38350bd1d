//! A replica goes while pods are created.

use std::time::Duration;

use image_swap_core::control::policy::FailurePolicy;

use super::{REGISTRY, ServedCluster};
use crate::{replica::Replica, stream::Stream};

const PATIENCE: Duration = Duration::from_mins(1);

/// As a drained node, a rollout and `kubectl delete pod` end it: SIGTERM.
// guarantee: 4f
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn a_replica_that_is_told_to_stop_under_load_costs_no_admission() {
    let mut scene = ServedCluster::set(2).await;
    let mut stream = Stream::begin(&scene.cluster.client, REGISTRY);
    stream.more().await;
    // Each in its turn is replaced, as in a rollout: the new one first.
    for _ in 0..2 {
        let new = scene.replica().await;
        let (old, _) = scene.replicas.remove(0);
        scene.replicas.push(new);
        retire(&scene, &old, &mut stream).await;
    }
    // And one is gone for good.
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

/// As SIGKILL, or a node without power: connections just end.
// guarantee: 4f
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn a_replica_that_dies_under_load_costs_no_more_than_what_it_was_asked() {
    let mut scene = ServedCluster::set(2).await;
    let mut stream = Stream::begin(&scene.cluster.client, REGISTRY);
    stream.more().await;
    let (old, _) = scene.replicas.remove(0);
    old.stop();
    // Until Kubernetes has noticed, some pods are sent to where nobody is: they
    // are refused, and no pod gets by unseen.
    stream.more().await;
    scene.serve();
    stream.more().await;
    // From now on all is as before.
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
