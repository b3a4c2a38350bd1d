//! A replica goes while pods are created.

use std::time::Duration;

use super::{REGISTRY, Scene};
use crate::stream::Stream;
use image_swap_core::cluster::policy::Policy;

const PATIENCE: Duration = Duration::from_mins(1);

/// As a drained node, a rollout and `kubectl delete pod` end it: SIGTERM.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn a_replica_that_is_told_to_stop_under_load_costs_no_admission() {
    let mut scene = Scene::set(2).await;
    let mut stream = Stream::begin(&scene.stage.client, REGISTRY);
    stream.more().await;
    // Each in its turn is replaced, as in a rollout: the new one first.
    for _ in 0..2 {
        let new = scene.replica().await;
        let (old, _) = scene.replicas.remove(0);
        scene.replicas.push(new);
        // It is told to stop before anybody knows of it, and asked all the same …
        old.leave();
        stream.more().await;
        // … until API servers have heard.
        scene.serve();
        stream.more().await;
        old.drain(PATIENCE).await;
        stream.more().await;
    }
    // And one is gone for good.
    let (old, _) = scene.replicas.remove(0);
    old.leave();
    stream.more().await;
    scene.serve();
    stream.more().await;
    old.drain(PATIENCE).await;
    stream.more().await;
    stream.end().await.assert_flawless();
}

/// As SIGKILL, or a node without power: connections just end.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn a_replica_that_dies_under_load_costs_no_more_than_what_it_was_asked() {
    let mut scene = Scene::set(2).await;
    let mut stream = Stream::begin(&scene.stage.client, REGISTRY);
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
    let mut after = Stream::begin(&scene.stage.client, REGISTRY);
    after.more().await;
    after.end().await.assert_flawless();
    assert_eq!(scene.controller().report.borrow().policy.failure_policy, Some(Policy::Fail));
}
