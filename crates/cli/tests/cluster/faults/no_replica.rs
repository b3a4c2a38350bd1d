//! A cluster without replicas refuses pods.

use image_swap_core::control::policy::FailurePolicy;
use image_swap_testbed::Options;
use serde_json::{Value, json};

use super::{REGISTRY, ServedCluster};
use crate::{
    stream::Stream,
    test_cluster::{eventually, pod},
};

const PODS: &str = "/api/v1/namespaces/apps/pods";
const JOBS: &str = "/apis/batch/v1/namespaces/apps/jobs";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/apps/deployments";

/// Returns a pod template for `app`.
fn template(app: &str) -> Value {
    json!({
        "metadata": { "labels": { "app": app } },
        "spec": {
            "automountServiceAccountToken": false,
            "containers": [{ "name": "main", "image": "nginx" }],
        },
    })
}

fn job() -> Value {
    let mut template = template("job");
    template["spec"]["restartPolicy"] = "Never".into();
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "job" },
        "spec": { "template": template },
    })
}

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "shop" },
        "spec": {
            "replicas": 2,
            "selector": { "matchLabels": { "app": "shop" } },
            "template": template("shop"),
        },
    })
}

fn image(pod: &Value) -> &str {
    pod["spec"]["containers"][0]["image"].as_str().unwrap()
}

// guarantee: 4a, 4f
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn pods_wait_while_no_replica_is_left() {
    let options = Options { controller_manager: true, ..Options::default() };
    let mut scene = ServedCluster::set_with(2, &options).await;
    let cluster = &scene.cluster;
    let of_app = |app: &str| -> Vec<Value> {
        let list = cluster.get(&format!("{PODS}?labelSelector=app%3D{app}")).unwrap();
        list["items"].as_array().unwrap().clone()
    };
    cluster.control_plane.create_namespace("going").unwrap();
    cluster.request("POST", "/api/v1/namespaces/going/pods", Some(&pod()));
    cluster.request("POST", JOBS, Some(&job()));
    let mut of_job = eventually(|| of_app("job").pop()).await;
    assert!(image(&of_job).starts_with(REGISTRY));

    // Both replicas end, and the Endpoints are updated.
    for (replica, _) in &scene.replicas {
        replica.stop();
    }
    cluster.serve_at_all(&[]);
    let mut stream = Stream::begin(&cluster.client, REGISTRY);
    stream.refused().await;
    // The stream continues, and no pod may be admitted without review.

    // A Deployment is stored, and its controller tries to create pods again and again.
    cluster.request("POST", DEPLOYMENTS, Some(&deployment()));
    eventually(|| cluster.events("apps", "FailedCreate").pop()).await;
    assert_eq!(of_app("shop").len(), 0);

    // Pods of system namespaces and exempt pods start.
    let system = cluster.request("POST", "/api/v1/namespaces/kube-system/pods", Some(&pod()));
    assert_eq!(image(&system), "nginx");
    let mut exempt_pod = pod();
    exempt_pod["metadata"]["labels"] = json!({ "image-swap.io/exempt": "true" });
    cluster.request("POST", PODS, Some(&exempt_pod));

    // The kubelet reports the end of a pod, and its Job completes.
    of_job["status"]["phase"] = "Succeeded".into();
    let path = format!("{PODS}/{}", of_job["metadata"]["name"].as_str().unwrap());
    cluster.request("PUT", &format!("{path}/status"), Some(&of_job));
    let is_complete = |job: &Value| job["status"]["succeeded"] == 1;
    eventually(|| cluster.get(&format!("{JOBS}/job")).filter(is_complete)).await;
    // Labels can be changed.
    let labels = json!({ "metadata": { "labels": { "seen": "yes" } } });
    cluster.request("PATCH", &path, Some(&labels));

    // A namespace with a pod is deleted, and other objects are created.
    cluster.request("DELETE", "/api/v1/namespaces/going", None);
    eventually(|| cluster.get("/api/v1/namespaces/going").is_none().then_some(())).await;
    let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "m" } });
    cluster.request("POST", "/api/v1/namespaces/apps/configmaps", Some(&map));
    let before = stream.end().await;
    assert_eq!((before.swapped, before.wrong), (0, Vec::new()));

    // With one replica, waiting pods are created without further action.
    scene.replicas.clear();
    let back = scene.replica().await;
    scene.replicas.push(back);
    scene.serve();
    let cluster = &scene.cluster;
    let list = || cluster.get(&format!("{PODS}?labelSelector=app%3Dshop")).unwrap();
    let both = |list: &Value| list["items"].as_array().unwrap().len() == 2;
    let pods = eventually(|| Some(list()).filter(both)).await;
    for pod in pods["items"].as_array().unwrap() {
        assert!(image(pod).starts_with(REGISTRY), "{}", image(pod));
    }
    assert_eq!(scene.controller().report.borrow().policy.failure_policy, Some(FailurePolicy::Fail));
}
