//! The page's Secret is hurt in every way while pods are created.

use std::collections::BTreeMap;

use serde_json::json;

use super::{REGISTRY, Scene};
use crate::{
    stage::{JET_SECRETS, SECRETS, keys, until},
    stream::Stream,
};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn a_secret_that_is_malformed_emptied_or_restored_never_costs_a_pod_its_image() {
    let mut scene = Scene::set(2).await;
    let mut stream = Stream::begin(&scene.stage.client, REGISTRY);
    let good = keys("h.example.org");
    let mut bad = good.clone();
    bad.insert("MIRROR_REGISTRIES", "docker.io::h.example.org/d,\ngcr.io::no target".into());
    let mut lost = good.clone();
    lost.remove("DOMAIN");
    for wrong in [bad, BTreeMap::new(), lost] {
        scene.stage.declare(JET_SECRETS, "registry-info", &wrong);
        let report = &mut scene.controller().report;
        until(report, |it| !it.declaration.refused.is_empty()).await;
        stream.more().await;
        scene.stage.declare(JET_SECRETS, "registry-info", &good);
        until(&mut scene.controller().report, |it| it.declaration.refused.is_empty()).await;
        stream.more().await;
    }
    stream.end().await.assert_flawless();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn what_the_controller_keeps_is_made_again_and_no_pod_notices() {
    let scene = Scene::set(2).await;
    let mut stream = Stream::begin(&scene.stage.client, REGISTRY);
    let path = |name: &str| format!("{SECRETS}/image-swap-{name}");
    for name in ["effective", "last-good", "ca", "tls"] {
        let before = scene.stage.get(&path(name)).unwrap();
        scene.stage.request("DELETE", &path(name), None);
        made_again(&scene, &path(name), &before["metadata"]["uid"]).await;
        stream.more().await;
    }
    // Emptied, as by an edit that went wrong.
    for name in ["effective", "last-good"] {
        let before = scene.stage.get(&path(name)).unwrap();
        let emptied = json!({ "data": null });
        scene.stage.request("PATCH", &path(name), Some(&emptied));
        let there = || {
            let now = scene.stage.get(&path(name))?;
            (now["data"] == before["data"]).then_some(())
        };
        crate::stage::eventually(there).await;
        stream.more().await;
    }
    stream.end().await.assert_flawless();
}

async fn made_again(scene: &Scene, path: &str, uid: &serde_json::Value) {
    crate::stage::eventually(|| scene.stage.get(path).filter(|it| it["metadata"]["uid"] != *uid))
        .await;
}
