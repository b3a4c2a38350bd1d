//! The bootstrap script of new machines, which follows the declaration.

use image_swap_core::mirror::Fallback;
use image_swap_testbed::{Wait, until};
use serde_json::Value;
use tokio::task::block_in_place;

use crate::{
    fleet::{DEADLINE, Fleet, RELEASE, kubectl, text},
    hub::NAMESPACE,
};

/// Waits until the bootstrap script of the management cluster `is_wanted`, and returns its Secret.
fn wait_script(fleet: &Fleet, what: &str, is_wanted: impl Fn(&str) -> bool) -> Value {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets/image-swap-bootstrap");
    let found = || {
        let secret = fleet.planes.hub.get(&path)?.unwrap_or_default();
        let is_there = is_wanted(&text(&secret, "bootstrap.sh"));
        if is_there { Ok(secret) } else { Err(Wait::NotYet(secret.to_string())) }
    };
    block_in_place(|| until(&format!("the script {what}"), DEADLINE, found)).unwrap()
}

// guarantee: 6b
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn bootstrap_script_follows_the_declaration() {
    let mut fleet = Fleet::with_clusters().await;
    fleet.lead(|settings| settings.bootstrap = Some(Fallback::Upstream)).await;
    let secret = wait_script(&fleet, "of one", |it| it.contains("harbor.example.org/v2/one"));
    assert_eq!(secret["metadata"]["labels"]["clusterctl.cluster.x-k8s.io/move"], "");
    assert!(secret["metadata"]["ownerReferences"].is_null());
    // The credential stays out: user data is readable for pods.
    let script = text(&secret, "bootstrap.sh");
    assert!(!script.contains("Authorization") && !script.contains("hunter2"), "{script}");
    fleet.declare(2, "two");
    wait_script(&fleet, "of two", |it| it.contains("harbor.example.org/v2/two"));
    // A machine without the Secret could not join.
    let deleted = ["delete", "secret", "image-swap-bootstrap", "--namespace", NAMESPACE];
    kubectl(&fleet.planes.hub, &deleted);
    wait_script(&fleet, "again", |it| it.contains("harbor.example.org/v2/two"));
    // Without a declaration new machines keep the last one.
    let deleted = ["delete", "secret", "image-swap-last-good", "--namespace", RELEASE];
    kubectl(&fleet.planes.hub, &deleted);
    fleet.wait_applied("a", "Orphaned");
    wait_script(&fleet, "of two", |it| it.contains("harbor.example.org/v2/two"));
}
