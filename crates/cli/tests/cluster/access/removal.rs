//! The Jobs of an uninstallation: their rights, and that both majors of Helm wait for them. The test
//! plays the kubelet.

use std::{fs, process::Command, time::Duration};

use image_swap_cluster::{RestoreSummary, RestoreWait};
use image_swap_core::render::cluster_api::secret_entries;
use image_swap_testbed::{HelmMajor, HelmWait, Live};
use image_swap_testkit::node_mirror;
use serde_json::{Value, json};
use tokio::task::{block_in_place, spawn_blocking};

use super::{
    VALUES,
    living_fleet::{LivingFleet, script},
    nodes::wait_refused,
    policy::{MERGE, send},
    rules::{Right, granted},
};
use crate::{
    install::{AGENTS, Account, FLEET, Installed},
    nodes::{NODES, add_node, report_as},
    templates::{self, collection, template},
    test_cluster::{ANCHORS, NAMESPACE, NODE_MIRRORS, TestCluster, eventually, parts, release},
};

const OWN: &str = "image-swap.io/not-configured";

fn pods() -> String {
    format!("/api/v1/namespaces/{AGENTS}/pods")
}

/// Returns the pod of the Job `name`, once its controller has created it.
async fn pod_of_job(cluster: &TestCluster, namespace: &str, name: &str) -> Value {
    let label = format!("labelSelector=batch.kubernetes.io/job-name={name}");
    let path = format!("/api/v1/namespaces/{namespace}/pods?{label}");
    eventually(|| cluster.get(&path).and_then(|list| list["items"].get(0).cloned())).await
}

/// Ends `pod` as its kubelet does.
fn succeed(cluster: &TestCluster, pod: &Value) {
    let [namespace, name] = ["namespace", "name"].map(|key| pod["metadata"][key].as_str().unwrap());
    let status = json!({ "status": { "phase": "Succeeded" } });
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/status");
    cluster.request("PATCH", &path, Some(&status));
}

/// Creates a template of each kind that refers to the bootstrap script.
async fn add_references(cluster: &TestCluster) {
    templates::define(cluster).await;
    for index in 0..templates::KINDS.len() {
        let files = json!(secret_entries().files);
        let object = template(index, "old", &files, &json!([]));
        cluster.request("POST", &collection(index, "apps"), Some(&object));
        let other =
            template(index, "other", &json!([{ "path": "/a", "content": "a" }]), &json!([]));
        cluster.request("POST", &collection(index, "apps"), Some(&other));
    }
}

/// Runs the Job that lists the references, with its arguments and rights. Returns its output, and the
/// rights.
async fn list_references(installed: &Installed) -> (String, Vec<Right>) {
    let cluster = &installed.cluster;
    let pod = pod_of_job(cluster, FLEET, "image-swap-references").await;
    let spec = &pod["spec"];
    assert_eq!(spec["serviceAccountName"], "image-swap-references");
    // Its pull Secret is back, after that of the release was deleted.
    assert_eq!(spec["imagePullSecrets"], json!([{ "name": "image-swap-image" }]));
    let pull = format!("/api/v1/namespaces/{FLEET}/secrets/image-swap-image");
    assert_eq!(cluster.get(&pull).unwrap()["type"], "kubernetes.io/dockerconfigjson");
    let rights = granted(installed, Account::References).into_iter().collect();
    let arguments = spec["containers"][0]["args"].as_array().unwrap().iter();
    let mut command = Command::new(env!("CARGO_BIN_EXE_image-swap"));
    command.args(arguments.map(|it| it.as_str().unwrap()));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kubeconfig");
    let output = block_in_place(|| {
        let plane = &cluster.control_plane;
        let kubeconfig = plane.token_kubeconfig(FLEET, "image-swap-references", false).unwrap();
        fs::write(&file, kubeconfig).unwrap();
        command.arg("--kubeconfig").arg(&file).output().unwrap()
    });
    assert!(output.status.success(), "{output:?}");
    succeed(cluster, &pod);
    (String::from_utf8(output.stdout).unwrap(), rights)
}

/// Checks what an administrator sees after the uninstallation: the script that does nothing, and the
/// objects that refer to it.
fn check_references(cluster: &TestCluster, printed: &str, has_references: bool) {
    let path = "/api/v1/namespaces/apps/secrets/image-swap-bootstrap";
    let secret = cluster.get(path).unwrap();
    let script = script(cluster).unwrap();
    assert!(script.ends_with("nothing to do.\nexit 0\n"), "{script}");
    let annotation = &secret["metadata"]["annotations"]["image-swap.io/referenced-by"];
    let events = cluster.events("apps", "BootstrapScriptReferenced");
    if has_references {
        let listed = "KubeadmControlPlane old, KubeadmConfigTemplate old, KubeadmConfig old";
        assert_eq!(annotation, listed);
        let lines = listed.replace(" old", " apps/old").replace(", ", "\n");
        let rest =
            "apps: keep the Secret image-swap-bootstrap until 3 objects no longer refer to it";
        assert_eq!(printed, format!("{lines}\n{rest}\n"));
        assert_eq!(events.len(), 1);
        assert_eq!(events[0]["note"], format!("New machines need this Secret: {listed}"));
        assert_eq!(events[0]["regarding"]["uid"], secret["metadata"]["uid"]);
    } else {
        assert_eq!(printed, "apps: no object refers to the Secret image-swap-bootstrap\n");
        assert_eq!((annotation, events.len()), (&Value::Null, 0));
    }
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
async fn helm_waits_for_the_jobs_and_deletes_their_rights() {
    let bootstrap = "fleet: {enabled: true, namespaces: [apps], bootstrap: {enabled: true}}";
    for (index, major) in HelmMajor::ALL.into_iter().enumerate() {
        let installed = Installed::managed_by(major, &format!("{VALUES}{bootstrap}\n")).await;
        let cluster = &installed.cluster;
        // The other one has no Cluster API.
        let has_references = index == 0;
        if has_references {
            add_references(cluster).await;
        }
        // API servers enforce the loss of permissions some time after the deletion of a role.
        let account = (!has_references).then_some(Account::Fleet);
        let mut fleet = LivingFleet::start(&installed, account).await;
        let uid = add_configured_node(cluster).await;
        let kubeconfig = cluster.control_plane.kubeconfig();
        let helm = Live::new(parts().helm().unwrap(), major, kubeconfig).unwrap();
        let uninstalling =
            spawn_blocking(move || helm.uninstall(NAMESPACE, "image-swap", HelmWait::Hooks));

        let pod = pod_of_job(cluster, AGENTS, "image-swap-restore").await;
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

        succeed(cluster, &pod);
        let (printed, of_references) = list_references(&installed).await;
        uninstalling.await.unwrap().unwrap();
        fleet.settle(&installed).await;
        check_references(cluster, &printed, has_references);
        for path in [
            format!("{ANCHORS}/image-swap-restore"),
            format!("/apis/batch/v1/namespaces/{AGENTS}/jobs/image-swap-restore"),
            format!("/api/v1/namespaces/{AGENTS}/serviceaccounts/image-swap-restore"),
            format!("/apis/batch/v1/namespaces/{FLEET}/jobs/image-swap-references"),
            format!("/api/v1/namespaces/{FLEET}/serviceaccounts/image-swap-references"),
            format!("/api/v1/namespaces/{FLEET}/secrets/image-swap-image"),
            "/apis/rbac.authorization.k8s.io/v1/namespaces/apps/roles/image-swap-references"
                .to_owned(),
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
        let (used, refused) = installed.audited(Account::References);
        assert_eq!(refused, [""; 0], "{major}");
        if has_references {
            let is_idle = |right: &&Right| !used.iter().any(|used| right.allows(used));
            let idle: Vec<&Right> = of_references.iter().filter(is_idle).collect();
            assert!(idle.is_empty(), "{major}: unused rights {idle:?}");
        }
    }
}
