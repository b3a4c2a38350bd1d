//! The bootstrap script of new machines, which follows the declaration.

use image_swap_core::mirror::Fallback;
use image_swap_testbed::{Wait, until};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::{
    fake::{ADMINISTRATOR, FakeServer},
    fleet::{DEADLINE, Fleet, REGISTRY_INFO, RELEASE, apply, kubectl, text, wait_until},
    hub::{NAMESPACE, OTHER},
};

/// Waits until the bootstrap script of the management cluster `is_wanted`, and returns its Secret.
fn wait_script(fleet: &Fleet, what: &str, is_wanted: impl Fn(&str) -> bool) -> Value {
    wait_script_in(NAMESPACE, fleet, what, is_wanted)
}

fn wait_script_in(
    namespace: &str,
    fleet: &Fleet,
    what: &str,
    is_wanted: impl Fn(&str) -> bool,
) -> Value {
    let path = format!("/api/v1/namespaces/{namespace}/secrets/image-swap-bootstrap");
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
    let mut fleet = Fleet::with_clusters(2).await;
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
    let deleted = ["delete", "secret", "image-swap-bootstrap", "--namespace", NAMESPACE];
    kubectl(&fleet.planes.hub, &deleted);
    wait_script(&fleet, "of two again", |it| it.contains("harbor.example.org/v2/two"));
    // So does the next leader.
    fleet.kill().await;
    kubectl(&fleet.planes.hub, &deleted);
    fleet.lead(|settings| settings.bootstrap = Some(Fallback::Upstream)).await;
    wait_script(&fleet, "by the next leader", |it| it.contains("harbor.example.org/v2/two"));
}

/// Declares a registry in the namespace [`OTHER`].
fn declare_beside(fleet: &Fleet, path: &str) {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": "registry-info", "namespace": OTHER },
        "stringData": {
            "DOMAIN": "own.example.org", "BASE_PATH": "", "INSECURE": "false",
            "USERNAME": "robot", "PASSWORD": "hunter2-hunter2",
            "MIRROR_REGISTRIES": format!("docker.io::own.example.org/{path}"),
        },
    });
    apply(&fleet.planes.hub, &secret.to_string());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn declaration_of_a_namespace_precedes_its_clusters() {
    let mut fleet = Fleet::prepare(0);
    fleet.planes.hub.create_namespace(OTHER).unwrap();
    fleet
        .lead(|settings| {
            settings.bootstrap = Some(Fallback::Upstream);
            settings.sources.namespaces.insert(OTHER.to_owned());
        })
        .await;
    let wait = |what: &str, mirror: &str| {
        wait_script_in(OTHER, &fleet, what, |it| it.contains(mirror));
    };
    wait("of one", "harbor.example.org/v2/one");
    // The namespace has no cluster yet.
    declare_beside(&fleet, "first");
    wait("of the first", "own.example.org/v2/first");
    declare_beside(&fleet, "second");
    wait("of the second", "own.example.org/v2/second");

    // A cluster that enters later gets it.
    let server = FakeServer::start("later").await;
    fleet.enter_in(OTHER, "later", &server.kubeconfig(ADMINISTRATOR));
    wait_until("the declaration of the namespace", || {
        let rules = text(&server.get(REGISTRY_INFO).unwrap_or_default(), "MIRROR_REGISTRIES");
        if rules.ends_with("own.example.org/second") { Ok(()) } else { Err(rules) }
    });
    // The management cluster needs no declaration for that.
    let deleted = ["delete", "secret", "image-swap-last-good", "--namespace", RELEASE];
    kubectl(&fleet.planes.hub, &deleted);
    declare_beside(&fleet, "third");
    wait("of the third", "own.example.org/v2/third");
    let deleted = ["delete", "secret", "registry-info", "--namespace", OTHER];
    kubectl(&fleet.planes.hub, &deleted);
    wait("of one again", "harbor.example.org/v2/one");
}
