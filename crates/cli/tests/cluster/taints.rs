//! The startup taint of Nodes. The test plays the agents.

use std::sync::Arc;

use image_swap_cluster::{AgentSettings, Settings};
use image_swap_core::status::AgentsStatus;
use serde_json::{Value, json};

use crate::{
    nodes::{
        NODES, STORED, add_agent, add_node, apply, mirror, report, set, until_agents, until_tried,
        until_verified, with_agents,
    },
    registry::declared,
    test_cluster::{JET_SECRETS, SECRETS, TestCluster, eventually},
};

const CONTAINERD: &str = "containerd://2.4.1";
const OWN: &str = "image-swap.io/not-configured";

/// Sets the taints of a Node, as its kubelet or an administrator does.
fn taint(cluster: &TestCluster, name: &str, keys: &[&str]) {
    let taints = keys.iter().map(|key| json!({ "key": key, "effect": "NoSchedule" }));
    let patch = json!({ "spec": { "taints": taints.collect::<Vec<_>>() } });
    cluster.request("PATCH", &format!("{NODES}/{name}"), Some(&patch));
}

/// Returns the keys of the taints of a Node, without those that the API server adds.
fn taints(cluster: &TestCluster, name: &str) -> Vec<String> {
    let node = cluster.get(&format!("{NODES}/{name}")).unwrap();
    let taints = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
    let keys = taints.iter().map(|it| it["key"].as_str().unwrap().to_owned());
    keys.filter(|key| !key.starts_with("node.kubernetes.io/")).collect()
}

async fn until_taints(cluster: &TestCluster, name: &str, keys: &[&str]) {
    eventually(|| (taints(cluster, name) == keys).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn taint_follows_the_reports_of_nodes() {
    let cluster = set().await;
    for name in ["a", "b", "c", "d", "e"] {
        add_node(&cluster, name, CONTAINERD, &Value::Null);
    }
    add_node(&cluster, "w", CONTAINERD, &json!({ "os": "windows" }));
    add_agent(&cluster, "a");
    taint(&cluster, "a", &["x", OWN, "y"]);
    taint(&cluster, "b", &[OWN]);
    taint(&cluster, "w", &[OWN]);
    let mirror = mirror(&Arc::default()).await;
    let keys = declared(&mirror.domain, &mirror.authority);
    cluster.declare(JET_SECRETS, "registry-info", &keys);
    let mut controller = cluster.controller(with_agents(), "one");

    // A node without a host needs no agent. The others wait.
    until_tried(&cluster, 1, &["a"]).await;
    until_taints(&cluster, "w", &[]).await;
    assert_eq!(taints(&cluster, "a"), ["x", OWN, "y"]);
    apply(&cluster, "a").await;
    until_taints(&cluster, "a", &["x", "y"]).await;
    until_verified(&cluster, 1).await;
    assert_eq!(taints(&cluster, "b"), [OWN]);

    // Two of six nodes at most carry it. A report without an agent would expire.
    for name in ["b", "c", "d"] {
        add_agent(&cluster, name);
        report(&cluster, name, 1, "False", "Refused").await;
        if name == "c" {
            until_taints(&cluster, "c", &[OWN]).await;
        }
    }
    let is_refused = |count: usize| {
        move |it: &AgentsStatus| {
            it.pending.iter().any(|row| row.reason == "Refused" && row.count == count)
        }
    };
    until_agents(&mut controller, is_refused(3)).await;
    assert_eq!((taints(&cluster, "b"), taints(&cluster, "d")), (vec![OWN.to_owned()], vec![]));
    apply(&cluster, "b").await;
    until_taints(&cluster, "b", &[]).await;
    until_taints(&cluster, "d", &[OWN]).await;

    // Helm removes the agents.
    cluster.request("DELETE", STORED, None);
    let marker = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "image-swap-nodes" },
        "stringData": { "restore": "true" },
    });
    cluster.request("POST", SECRETS, Some(&marker));
    for name in ["c", "d"] {
        until_taints(&cluster, name, &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn taint_of_an_earlier_setting_is_removed() {
    let cluster = set().await;
    add_node(&cluster, "a", CONTAINERD, &Value::Null);
    taint(&cluster, "a", &[OWN, "x"]);
    let Settings { agents, .. } = with_agents();
    let agents = agents.map(|it| AgentSettings { startup_taint: false, ..it });
    let _controller = cluster.controller(Settings { agents, ..with_agents() }, "one");
    until_taints(&cluster, "a", &["x"]).await;
}
