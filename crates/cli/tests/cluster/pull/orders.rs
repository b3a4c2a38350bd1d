//! Orders of administrators for clusters that pull.

use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::{
    COPY, condition,
    fleet::{CLUSTERS, PullFleet, apply},
    status,
};
use crate::test_cluster::eventually;

/// Sets the annotation of the object of the cluster `edge`. Null removes it.
fn order(fleet: &PullFleet, value: &Value) {
    let annotations = json!({ "image-swap.io/fleet": value });
    PullFleet::patch(
        &fleet.planes.hub,
        COPY,
        &json!({ "metadata": { "annotations": annotations } }),
    );
}

/// Waits until `Applied` of the cluster `edge` has this reason.
async fn applied(fleet: &PullFleet, reason: &str) -> Value {
    fleet.reported(|it| condition(it, "Applied")["reason"] == reason).await
}

/// Runs `fleet enroll` for `cluster`. Returns the manifest and the note.
fn enroll(fleet: &PullFleet, cluster: &str) -> [String; 2] {
    let ran = fleet.run(&["fleet", "enroll", cluster, "--namespace", CLUSTERS]);
    let [manifest, note] = [ran.stdout, ran.stderr].map(|it| String::from_utf8(it).unwrap());
    assert!(ran.status.success(), "{note}");
    [manifest, note]
}

/// Waits until the copy of `cluster` has the declaration `revision`.
async fn copied(fleet: &PullFleet, cluster: &str, revision: u64) {
    let path = format!("/api/v1/namespaces/{CLUSTERS}/secrets/{cluster}.declaration");
    let number = revision.to_string();
    let has_number = |secret: &Value| {
        secret["metadata"]["annotations"]["image-swap.io/revision"].as_str() == Some(&*number)
    };
    let get = || block_in_place(|| fleet.planes.hub.get(&path).unwrap());
    eventually(|| get().filter(has_number)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn orders_hold_for_clusters_that_pull() {
    let fleet = PullFleet::start().await;
    apply(fleet.workload(), &fleet.enroll());
    let (_report, _controller) = fleet.controller().await;
    applied(&fleet, "InForce").await;

    // The effect of an annotation ends with it.
    for value in ["removed", "77"] {
        order(&fleet, &value.into());
        let failed = applied(&fleet, "Failed").await;
        assert!(failed["status"]["lastError"].is_string(), "{failed}");
        order(&fleet, &Value::Null);
        applied(&fleet, "InForce").await;
    }

    // A new manifest has the declaration of a pinned cluster.
    fleet.declare(2, "two");
    fleet.declared(2, "two").await;
    order(&fleet, &"1".into());
    fleet.declared(1, "one").await;
    let [manifest, note] = enroll(&fleet, "edge");
    assert!(note.contains("edge has declaration 1;"), "{note}");
    apply(fleet.workload(), &manifest);
    fleet.declared(1, "one").await;
    applied(&fleet, "InForce").await;
    order(&fleet, &Value::Null);
    fleet.declared(2, "two").await;
    let [_, note] = enroll(&fleet, "edge");
    assert!(note.contains("edge has declaration 2;"), "{note}");

    // A cluster whose name continues that of another one is independent of it.
    enroll(&fleet, "edge-fleet");
    fleet.declare(3, "three");
    copied(&fleet, "edge-fleet", 3).await;
    fleet.declared(3, "three").await;
    applied(&fleet, "InForce").await;
    let ran = fleet.run(&["fleet", "revoke", "edge", "--namespace", CLUSTERS]);
    assert!(ran.status.success(), "{ran:?}");
    fleet.declare(4, "four");
    copied(&fleet, "edge-fleet", 4).await;
    let client = fleet.as_cluster("edge-fleet").await;
    let path = COPY.replace("/edge.", "/edge-fleet.");
    assert_eq!(status(&client, "GET", &path, &Value::Null).await, 200);
}
