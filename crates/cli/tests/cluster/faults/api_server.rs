//! Faults of the API server and of etcd.

use super::{REGISTRY, ServedCluster};
use crate::{
    stream::Stream,
    test_cluster::{JET_SECRETS, eventually, keys, until},
};
use image_swap_core::control::policy::FailurePolicy;

// guarantee: 4f
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn restarted_api_server_admits_no_unreviewed_pod() {
    let mut scene = ServedCluster::set(2).await;
    let mut stream = Stream::begin(&scene.cluster.client, REGISTRY);
    stream.more().await;
    let control_plane = &mut scene.cluster.control_plane;
    tokio::task::block_in_place(|| {
        control_plane.api_server().kill().unwrap();
        control_plane.wait_ready().unwrap();
    });
    stream.more().await;
    // Every admitted pod was reviewed, from the first moment on.
    stream.end().await.assert_none_wrong();
    follows_changes(&mut scene).await;
}

// guarantee: 4f
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn etcd_outage_loses_nothing() {
    let mut scene = ServedCluster::set(2).await;
    let mut stream = Stream::stored(&scene.cluster.client, REGISTRY);
    stream.more().await;
    tokio::task::block_in_place(|| scene.cluster.control_plane.etcd().unwrap().stop().unwrap());
    let cluster = &scene.cluster;
    let is_noticed = || {
        let answer = cluster.control_plane.request("GET", "/readyz/etcd", None).unwrap();
        (answer.status != 200).then_some(())
    };
    tokio::task::block_in_place(|| {
        tokio::runtime::Handle::current().block_on(eventually(is_noticed));
    });
    tokio::task::block_in_place(|| scene.cluster.control_plane.wait_ready().unwrap());
    stream.more().await;
    stream.end().await.assert_none_wrong();
    follows_changes(&mut scene).await;
}

/// Asserts that the controller leads again, and that each replica serves a new declaration.
async fn follows_changes(scene: &mut ServedCluster) {
    // The hash is read first, since the controller reads the change at once.
    let hash = scene.controller().report.borrow().declaration.hash.clone();
    scene.cluster.declare(JET_SECRETS, "registry-info", &keys("new.example.org"));
    let report = until(&mut scene.controller().report, |it| it.declaration.hash != hash).await;
    assert_eq!(report.policy.failure_policy, Some(FailurePolicy::Fail));
    for (replica, _) in &scene.replicas {
        let hash = report.declaration.hash.clone();
        until(&mut replica.served(), |it| it.as_ref().is_some_and(|it| it.hash == hash)).await;
    }
    let mut stream = Stream::begin(&scene.cluster.client, "new.example.org/");
    stream.more().await;
    stream.end().await.assert_flawless();
}
