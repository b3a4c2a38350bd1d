//! The manifest that restores nodes, as the API server reads it.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use image_swap_testbed::Options;
use serde_json::json;

use crate::test_cluster::TestCluster;

const IMAGE: &str = "h.example.org/image-swap:0.1.0";
const NAMESPACE: &str = "image-swap-restore";

fn manifest(options: &[&str]) -> Vec<u8> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_image-swap"));
    command.args(["render", "node-restore", "--image", IMAGE]).args(options);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// Applies `manifest` with kubectl; returns its output.
fn apply(cluster: &TestCluster, manifest: &[u8], options: &[&str]) -> String {
    tokio::task::block_in_place(|| {
        let mut command = cluster.control_plane.kubectl();
        command.args(["apply", "--validate=strict", "--filename=-"]).args(options);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(manifest).unwrap();
        let output = child.wait_with_output().unwrap();
        let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success(), "{printed}");
        printed
    })
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn manifest_that_restores_nodes_is_accepted() {
    let cluster = TestCluster::bare(&Options::default()).await;
    let runtimes = ["--runtime", "containerd", "--runtime", "crio", "--runtime", "k3s"];
    // The namespace exists, as a dry run creates none for the other objects.
    for options in [&[][..], &runtimes] {
        let manifest = manifest(&[options, &["--namespace", "apps"]].concat());
        let printed = apply(&cluster, &manifest, &["--dry-run=server"]);
        assert!(printed.contains("daemonset.apps/image-swap-restore created"), "{printed}");
    }
    let printed = apply(&cluster, &manifest(&[]), &[]);
    assert!(!printed.contains("Warning"), "{printed}");

    // The Pod Security level of the namespace admits the pods.
    let path = format!("/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/image-swap-restore");
    let stored = cluster.get(&path).unwrap();
    let spec = &stored["spec"]["template"]["spec"];
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "restore" }, "spec": spec,
    });
    let pods = format!("/api/v1/namespaces/{NAMESPACE}/pods?dryRun=All");
    let created = cluster.request("POST", &pods, Some(&pod));
    // No token is mounted.
    let names: Vec<&str> = created["spec"]["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|volume| volume["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["etc", "state"]);
    assert_eq!(spec["volumes"][0]["hostPath"], json!({ "path": "/etc", "type": "Directory" }));
}
