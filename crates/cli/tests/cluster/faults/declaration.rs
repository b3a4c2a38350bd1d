//! Malformed, empty and deleted Secrets while pods are created.

use std::collections::BTreeMap;

use serde_json::json;

use super::{REGISTRY, ServedCluster};
use crate::{
    stream::Stream,
    test_cluster::{JET_SECRETS, SECRETS, keys, until},
};

// guarantee: 3b
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn broken_declarations_never_change_admitted_images() {
    let mut scene = ServedCluster::set(2).await;
    let mut stream = Stream::begin(&scene.cluster.client, REGISTRY);
    let good = keys("h.example.org");
    let mut bad = good.clone();
    bad.insert("MIRROR_REGISTRIES", "docker.io::h.example.org/d,\ngcr.io::no target".into());
    let mut lost = good.clone();
    lost.remove("DOMAIN");
    for wrong in [bad, BTreeMap::new(), lost] {
        scene.cluster.declare(JET_SECRETS, "registry-info", &wrong);
        let report = &mut scene.controller().report;
        until(report, |it| !it.declaration.refused.is_empty()).await;
        stream.more().await;
        scene.cluster.declare(JET_SECRETS, "registry-info", &good);
        until(&mut scene.controller().report, |it| it.declaration.refused.is_empty()).await;
        stream.more().await;
    }
    stream.end().await.assert_flawless();
}

// guarantee: 4e, 4f
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn deleted_secrets_are_recreated_without_failed_pods() {
    let scene = ServedCluster::set(2).await;
    let mut stream = Stream::begin(&scene.cluster.client, REGISTRY);
    let path = |name: &str| format!("{SECRETS}/image-swap-{name}");
    for name in ["effective", "last-good", "ca", "tls"] {
        let before = scene.cluster.get(&path(name)).unwrap();
        scene.cluster.request("DELETE", &path(name), None);
        made_again(&scene, &path(name), &before["metadata"]["uid"]).await;
        stream.more().await;
    }
    // An edit by mistake empties the Secrets.
    for name in ["effective", "last-good"] {
        let before = scene.cluster.get(&path(name)).unwrap();
        let emptied = json!({ "data": null });
        scene.cluster.request("PATCH", &path(name), Some(&emptied));
        let there = || {
            let now = scene.cluster.get(&path(name))?;
            (now["data"] == before["data"]).then_some(())
        };
        crate::test_cluster::eventually(there).await;
        stream.more().await;
    }
    stream.end().await.assert_flawless();
}

async fn made_again(scene: &ServedCluster, path: &str, uid: &serde_json::Value) {
    crate::test_cluster::eventually(|| {
        scene.cluster.get(path).filter(|it| it["metadata"]["uid"] != *uid)
    })
    .await;
}
