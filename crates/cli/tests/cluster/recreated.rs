//! Pods that are deleted and created again and again.

use serde_json::{Value, json};

use crate::test_cluster::{TestCluster, eventually, pod, settings, until};

const PODS: &str = "/api/v1/namespaces/apps/pods";

/// Returns the pod `name` of an owner, as an admission replica leaves it.
fn owned_pod(name: &str, kind: &str, group: &str) -> Value {
    let mut pod = pod();
    pod["metadata"] = json!({
        "name": name,
        "annotations": { "image-swap.io/original-images": r#"{"main":"nginx"}"# },
        "ownerReferences": [{
            "apiVersion": format!("{group}/v1"), "kind": kind, "name": "db",
            "uid": format!("uid-of-{kind}"), "controller": true,
        }],
    });
    pod
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn recreated_pod_is_reported() {
    let cluster = TestCluster::set().await;
    let mut controller = cluster.controller(settings(), "one");
    until(&mut controller.report, |it| !it.version.is_empty()).await;
    // A pod of a Job is the first event, and does not count.
    let job = owned_pod("job", "Job", "batch");
    cluster.request("POST", PODS, Some(&job));
    let database = owned_pod("db-0", "Database", "example.org");
    let found = eventually(|| {
        for pod in [&database, &job] {
            let path = format!("{PODS}/{}", pod["metadata"]["name"].as_str().unwrap());
            if cluster.get(&path).is_some() {
                cluster.kill(PODS, pod);
            }
            cluster.request("POST", PODS, Some(pod));
        }
        let found = controller.report.borrow().recreated.clone();
        (!found.is_empty()).then_some(found)
    })
    .await;
    assert_eq!(found.len(), 1);
    assert_eq!((&*found[0].pod, &*found[0].kind, &*found[0].owner), ("db-0", "Database", "db"));
    let event = eventually(|| cluster.events("apps", "PodsRecreated").pop()).await;
    assert_eq!(event["regarding"]["kind"], "Database");
    let note = event["note"].as_str().unwrap();
    assert!(note.contains("exemptions.owners: [Database.example.org]"), "{note}");
    let metrics = controller.metrics.text().unwrap();
    assert!(metrics.contains("image_swap_controller_recreated_pod_owners 1"), "{metrics}");
}
