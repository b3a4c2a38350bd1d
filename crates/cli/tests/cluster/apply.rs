//! `kubectl apply` of a bare pod, again and again.

use std::{io::Write, process::Stdio};

use image_swap_core::control::policy::FailurePolicy;
use serde_json::{Value, json};

use crate::test_cluster::{JET_SECRETS, TestCluster, eventually, keys, settings, until};

const PODS: &str = "/api/v1/namespaces/apps/pods";

/// Returns a pod with an image in every list.
fn manifest(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": "apps" },
        "spec": {
            "automountServiceAccountToken": false,
            "initContainers": [{ "name": "init", "image": "busybox:1" }],
            "containers": [{ "name": "main", "image": "nginx:1.25" }],
            "volumes": [
                { "name": "empty", "emptyDir": {} },
                { "name": "model", "image": { "reference": "docker.io/library/model:1" } },
            ],
        },
    })
}

/// Runs kubectl with a manifest; returns its exit code and what it printed.
fn kubectl(cluster: &TestCluster, arguments: &[&str], manifest: &Value) -> (Option<i32>, String) {
    tokio::task::block_in_place(|| {
        let mut command = cluster.control_plane.kubectl();
        command.args(arguments).arg("--filename=-").stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(manifest.to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    })
}

/// Starts a release whose webhook reviews every update, and declares docker.io.
async fn in_force(cluster: &TestCluster) -> impl Sized + use<> {
    let mut controller = cluster.controller(settings(), "one");
    let (replica, following) = cluster.replica().await;
    cluster.serve_at(replica.port());
    until(&mut controller.report, |it| it.policy.failure_policy == Some(FailurePolicy::Fail)).await;
    cluster.declare(JET_SECRETS, "registry-info", &keys("h.example.org"));
    until(&mut replica.served(), |it| it.as_ref().is_some_and(|it| !it.rules.rules().is_empty()))
        .await;
    (controller, replica, following)
}

// guarantee: 2c
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn repeated_apply_of_a_bare_pod_changes_nothing() {
    let cluster = TestCluster::set().await;
    let _running = in_force(&cluster).await;
    for (name, apply, diff) in [
        ("client", vec!["apply"], vec!["diff"]),
        ("server", vec!["apply", "--server-side"], vec!["diff", "--server-side"]),
    ] {
        let file = manifest(name);
        let (code, printed) = kubectl(&cluster, &apply, &file);
        assert_eq!(code, Some(0), "{printed}");
        let path = format!("{PODS}/{name}");
        let stored = cluster.get(&path).unwrap();
        let mirror = |image: &str| format!("h.example.org/airgap/docker.io/library/{image}");
        let spec = &stored["spec"];
        assert_eq!(spec["containers"][0]["image"], mirror("nginx:1.25"));
        assert_eq!(spec["volumes"][1]["image"]["reference"], mirror("model:1"));

        let (code, printed) = kubectl(&cluster, &diff, &file);
        assert_eq!(code, Some(0), "{printed}");
        let (code, printed) = kubectl(&cluster, &apply, &file);
        assert_eq!(code, Some(0), "{printed}");
        // The resource version shows that nothing was stored.
        assert_eq!(cluster.get(&path).unwrap(), stored);

        // Another label and other rules do not change the result.
        cluster.request("PATCH", &path, Some(&json!({ "metadata": { "labels": { "a": "b" } } })));
        let mut other = keys("h.example.org");
        other.insert("MIRROR_REGISTRIES", "docker.io::h.example.org/other".into());
        cluster.declare(JET_SECRETS, "registry-info", &other);
        eventually(|| {
            let probe = json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "probe" },
                "spec": {
                    "automountServiceAccountToken": false,
                    "containers": [{ "name": "main", "image": "nginx" }],
                },
            });
            let probe = cluster.request("POST", &format!("{PODS}?dryRun=All"), Some(&probe));
            let image = probe["spec"]["containers"][0]["image"].as_str().unwrap().to_owned();
            image.contains("/other/").then_some(())
        })
        .await;
        let (code, printed) = kubectl(&cluster, &apply, &file);
        assert_eq!(code, Some(0), "{printed}");
        assert_eq!(cluster.get(&path).unwrap()["spec"], stored["spec"]);
        cluster.declare(JET_SECRETS, "registry-info", &keys("h.example.org"));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn pod_with_full_annotations_has_no_record() {
    let cluster = TestCluster::set().await;
    let _running = in_force(&cluster).await;
    let mut pod = manifest("full");
    let filler = "\"".repeat(262_144 - "a/b".len() - 100);
    pod["metadata"]["annotations"] = json!({ "a/b": filler });
    let stored = cluster.request("POST", PODS, Some(&pod));
    assert_eq!(
        stored["spec"]["containers"][0]["image"],
        "h.example.org/airgap/docker.io/library/nginx:1.25"
    );
    assert_eq!(stored["metadata"]["annotations"].as_object().unwrap().len(), 1);
    pod["metadata"]["name"] = "roomy".into();
    pod["metadata"]["annotations"] = json!({ "a/b": filler[..filler.len() - 200].to_owned() });
    let stored = cluster.request("POST", PODS, Some(&pod));
    assert_eq!(stored["metadata"]["annotations"].as_object().unwrap().len(), 2);
}
