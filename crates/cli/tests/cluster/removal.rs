//! The wait for the restoration of nodes. The test plays the agents.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use image_swap_cluster::{RestoreSummary, RestoreWait};
use image_swap_testkit::node_mirror;
use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::{
    nodes::{NODES, add_node, report_as, set},
    test_cluster::{NAMESPACE, NODE_MIRRORS, TestCluster, eventually, release},
};

const DEFINITION: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/\
                          nodemirrors.image-swap.io";
const CONTAINERD: &str = "containerd://2.4.1";
const IN_PLACE: (&str, &str) = ("True", "InPlace");
const RESTORED: (&str, &str) = ("False", "Restored");
const LONG: Duration = Duration::from_mins(5);
const SHORT: Duration = Duration::from_secs(1);

/// Starts a cluster with the custom resource, labelled as the chart does.
async fn set_labelled() -> TestCluster {
    let cluster = set().await;
    let labels = json!({ "app.kubernetes.io/name": "image-swap" });
    let patch = json!({ "metadata": { "labels": labels } });
    cluster.request("PATCH", DEFINITION, Some(&patch));
    cluster
}

/// Creates a Node with its `NodeMirror`, as kubelet and controller do. Returns the UID.
fn add(cluster: &TestCluster, name: &str) -> Value {
    add_node(cluster, name, CONTAINERD, &Value::Null);
    let uid = cluster.get(&format!("{NODES}/{name}")).unwrap()["metadata"]["uid"].clone();
    let owner = json!({ "apiVersion": "v1", "kind": "Node", "name": name, "uid": uid });
    let mut mirror = node_mirror(name, uid.clone(), CONTAINERD);
    mirror["metadata"]["ownerReferences"] = json!([owner]);
    cluster.request("POST", NODE_MIRRORS, Some(&mirror));
    uid
}

async fn wait(cluster: &TestCluster, deadline: Duration) -> RestoreSummary {
    RestoreWait::new(&cluster.client, release(), None).run(deadline).await
}

/// Returns names and reasons of the nodes that are not restored.
fn pending(summary: &RestoreSummary) -> Vec<(&str, &str)> {
    summary.pending.iter().map(|it| (&*it.name, &*it.reason)).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn custom_resource_is_deleted_after_the_last_node() {
    let cluster = set_labelled().await;
    let taints = json!([
        { "key": "x", "effect": "NoSchedule" },
        { "key": "image-swap.io/not-configured", "effect": "NoSchedule" },
    ]);
    let uids = ["a", "b"].map(|name| add(&cluster, name));
    let patch = json!({ "spec": { "taints": taints } });
    cluster.request("PATCH", &format!("{NODES}/b"), Some(&patch));
    report_as(&cluster, "a", &uids[0], 1, RESTORED).await;
    report_as(&cluster, "b", &uids[1], 1, IN_PLACE).await;
    // Never configured, and a Node that is gone.
    add(&cluster, "new");
    let gone = add(&cluster, "gone");
    report_as(&cluster, "gone", &gone, 1, IN_PLACE).await;
    cluster.request("DELETE", &format!("{NODES}/gone"), None);

    let mut command = Command::new(env!("CARGO_BIN_EXE_image-swap"));
    command.args(["await-restore", "--namespace", NAMESPACE, "--deadline", "2m", "--kubeconfig"]);
    command.arg(cluster.control_plane.kubeconfig());
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The taint is removed before the wait ends.
    let taints = || cluster.get(&format!("{NODES}/b")).unwrap()["spec"]["taints"].clone();
    let expected = json!([{ "key": "x", "effect": "NoSchedule" }]);
    eventually(|| (taints() == expected).then_some(())).await;
    assert!(process.try_wait().unwrap().is_none());
    assert!(cluster.get(DEFINITION).is_some());
    report_as(&cluster, "b", &uids[1], 1, RESTORED).await;
    let output = block_in_place(|| process.wait_with_output().unwrap());
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{printed} {}", String::from_utf8_lossy(&output.stderr));
    let expected = "4 nodes restored or unchanged\n\
                    deleted the customresourcedefinition nodemirrors.image-swap.io\n";
    assert_eq!(printed, expected);
    assert!(cluster.get(DEFINITION).is_none());

    // Nothing is left to do.
    assert_eq!(wait(&cluster, LONG).await, RestoreSummary::default());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn silent_node_is_listed_and_keeps_the_custom_resource() {
    let cluster = set_labelled().await;
    let uids = ["a", "b", "c"].map(|name| add(&cluster, name));
    report_as(&cluster, "a", &uids[0], 1, RESTORED).await;
    report_as(&cluster, "b", &uids[1], 1, IN_PLACE).await;
    report_as(&cluster, "c", &uids[2], 1, ("Unknown", "AgentNotRunning")).await;
    let summary = wait(&cluster, SHORT).await;
    let expected =
        [("b", "the agent has not reported the restoration"), ("c", "no agent runs on the node")];
    assert_eq!(pending(&summary), expected);
    assert_eq!(summary.kept.as_deref(), Some("it has the reports of these nodes"));
    assert!(cluster.get(DEFINITION).is_some());
    // An error of the API server is none of the command.
    assert!(summary.failures.is_empty(), "{summary:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn custom_resource_of_others_is_kept() {
    let cluster = set().await;
    let uid = add(&cluster, "a");
    report_as(&cluster, "a", &uid, 1, RESTORED).await;
    let summary = wait(&cluster, LONG).await;
    assert_eq!(summary.kept.as_deref(), Some("no chart of image-swap created it"));

    // A release of another name runs agents.
    let labels = json!({ "app.kubernetes.io/name": "image-swap" });
    let patch = json!({ "metadata": { "labels": labels } });
    cluster.request("PATCH", DEFINITION, Some(&patch));
    let labels =
        json!({ "app.kubernetes.io/name": "image-swap", "app.kubernetes.io/component": "agent" });
    let agents = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": { "name": "other-image-swap-agent-crio", "labels": labels },
        "spec": {
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": "agent", "image": "nginx" }] },
            },
        },
    });
    let sets = "/apis/apps/v1/namespaces/apps/daemonsets";
    cluster.request("POST", sets, Some(&agents));
    let summary = wait(&cluster, LONG).await;
    let expected = "the agents apps/other-image-swap-agent-crio belong to another release";
    assert_eq!((summary.pending.len(), summary.kept.as_deref()), (0, Some(expected)));
    cluster.request("DELETE", &format!("{sets}/other-image-swap-agent-crio"), None);
    assert_eq!(wait(&cluster, LONG).await.kept, None);
}
