//! The Job by which Helm waits for the restoration of nodes: its rights, and that both majors of
//! Helm wait for it. The test plays the kubelet.

use std::time::Duration;

use image_swap_cluster::{RestoreSummary, RestoreWait};
use image_swap_testbed::{HelmMajor, HelmWait, Live};
use image_swap_testkit::node_mirror;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::{
    VALUES,
    nodes::wait_refused,
    policy::{MERGE, send},
    rules::{Right, granted},
};
use crate::{
    install::{AGENTS, Account, Installed},
    nodes::{NODES, add_node, report_as},
    test_cluster::{ANCHORS, NAMESPACE, NODE_MIRRORS, TestCluster, eventually, parts, release},
};

const OWN: &str = "image-swap.io/not-configured";

fn pods() -> String {
    format!("/api/v1/namespaces/{AGENTS}/pods")
}

/// Returns the pod of the Job, once its controller has created it.
async fn pod_of_job(cluster: &TestCluster) -> Value {
    let path = format!("{}?labelSelector=batch.kubernetes.io/job-name=image-swap-restore", pods());
    eventually(|| cluster.get(&path).and_then(|list| list["items"].get(0).cloned())).await
}

/// Creates a pod that is being deleted, on a node that is off: nothing confirms its deletion.
fn add_stuck_pod(cluster: &TestCluster) {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "stuck", "labels": {
                "app.kubernetes.io/name": "image-swap",
                "app.kubernetes.io/component": "await-restore",
            },
        },
        "spec": {
            "nodeName": "off", "automountServiceAccountToken": false,
            "serviceAccountName": "image-swap-restore",
            "containers": [{ "name": "c", "image": "nginx" }],
        },
    });
    cluster.request("POST", &pods(), Some(&pod));
    cluster.request("DELETE", &format!("{}/stuck", pods()), None);
    assert!(cluster.get(&format!("{}/stuck", pods())).is_some());
}

/// Creates a configured node with the startup taint. Returns its UID.
async fn add_configured_node(cluster: &TestCluster) -> Value {
    add_node(cluster, "a", "containerd://2.4.1", &Value::Null);
    let node = cluster.get(&format!("{NODES}/a")).unwrap();
    let uid = node["metadata"]["uid"].clone();
    let taints = json!([{ "key": OWN, "effect": "NoSchedule" }]);
    let patch = json!({ "spec": { "taints": taints } });
    cluster.request("PATCH", &format!("{NODES}/a"), Some(&patch));
    let owner = json!({ "apiVersion": "v1", "kind": "Node", "name": "a", "uid": uid });
    let mut mirror = node_mirror("a", uid.clone(), "containerd://2.4.1");
    mirror["metadata"]["ownerReferences"] = json!([owner]);
    cluster.node_mirrors_served().await;
    cluster.request("POST", NODE_MIRRORS, Some(&mirror));
    report_as(cluster, "a", &uid, 1, ("True", "InPlace")).await;
    uid
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn helm_waits_for_the_job_and_deletes_its_rights() {
    for major in HelmMajor::ALL {
        let installed = Installed::managed_by(major, VALUES).await;
        let cluster = &installed.cluster;
        let uid = add_configured_node(cluster).await;
        let kubeconfig = cluster.control_plane.kubeconfig();
        let helm = Live::new(parts().helm().unwrap(), major, kubeconfig).unwrap();
        let uninstalling =
            spawn_blocking(move || helm.uninstall(NAMESPACE, "image-swap", HelmWait::Hooks));

        let pod = pod_of_job(cluster).await;
        let name = pod["metadata"]["name"].as_str().unwrap();
        assert_eq!(pod["metadata"]["labels"]["image-swap.io/exempt"], "true", "{major}");
        assert_eq!(pod["spec"]["serviceAccountName"], "image-swap-restore");
        let rights = granted(&installed, Account::Restore);
        let client = installed.client_as(Account::Restore).await;
        let (path, label) = (
            format!("{NODES}/a"),
            json!({ "metadata": { "labels": { "image-swap.io/runtime": "crio", "other": "x" } } }),
        );
        let dry = format!("{path}?dryRun=All");
        wait_refused(async || send(&client, "PATCH", &dry, MERGE, &label).await).await;
        add_stuck_pod(cluster);
        let wait = RestoreWait::new(&client, release(), Some(AGENTS.to_owned()));
        let waiting = tokio::spawn(wait.run(Duration::from_mins(1)));
        let is_watched = |kind: &str| {
            let (used, _) = installed.audited(Account::Restore);
            used.iter().any(|it| it.verb == "watch" && it.resource == kind)
        };
        for kind in ["nodes", "nodemirrors"] {
            eventually(|| is_watched(kind).then_some(())).await;
        }
        assert!(!waiting.is_finished() && !uninstalling.is_finished());
        report_as(cluster, "a", &uid, 1, ("False", "Restored")).await;
        let summary = waiting.await.unwrap();
        assert_eq!(summary, RestoreSummary { nodes: 1, ..RestoreSummary::default() }, "{major}");
        assert!(cluster.get(&format!("{}/stuck", pods())).is_none());
        let node = cluster.get(&path).unwrap();
        assert!(!node["spec"]["taints"].to_string().contains(OWN), "{major}: {node}");

        let status = json!({ "status": { "phase": "Succeeded" } });
        cluster.request("PATCH", &format!("{}/{name}/status", pods()), Some(&status));
        uninstalling.await.unwrap().unwrap();
        for path in [
            format!("{ANCHORS}/image-swap-restore"),
            format!("/apis/batch/v1/namespaces/{AGENTS}/jobs/image-swap-restore"),
            format!("/api/v1/namespaces/{AGENTS}/serviceaccounts/image-swap-restore"),
        ] {
            assert!(cluster.get(&path).is_none(), "{major}: {path}");
        }
        assert!(cluster.get(NODE_MIRRORS).is_none(), "{major}");

        let idle = || -> Vec<Right> {
            let (used, refused) = installed.audited(Account::Restore);
            assert_eq!(refused, [""; 0], "{major}");
            let is_idle = |right: &&Right| !used.iter().any(|used| right.allows(used));
            // The deletion of the custom resource may end before it is watched.
            let is_quick = |right: &&Right| format!("{right:?}").contains("customresourcedef");
            rights.iter().filter(|it| is_idle(it) && !is_quick(it)).cloned().collect()
        };
        assert_eq!(idle(), [], "{major}: unused rights");
    }
}
