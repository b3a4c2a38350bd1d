//! The documented removal from a cluster that pulls.

use std::{env, path::Path, process::Command, time::Duration};

use image_swap_cluster::AgentSettings;
use image_swap_testbed::RunDir;
use tokio::task::block_in_place;

use super::fleet::PullFleet;
use crate::{
    documented,
    nodes::agents,
    test_cluster::{REGISTRATIONS, eventually},
};

/// Returns the settings of agents in the manifest.
fn settings() -> AgentSettings {
    AgentSettings { deadline: Duration::from_mins(1), startup_taint: false, ..agents() }
}

/// Removes image-swap from the workload cluster by the documented commands. Its objects are those of
/// `manifest`, and those of a controller that runs.
pub(super) async fn remove(fleet: &PullFleet, manifest: &str) {
    let (_report, controller) = fleet.controller_with(Some(settings())).await;
    eventually(|| fleet.get("/api/v1/namespaces/image-swap/secrets/image-swap-nodes")).await;
    let registration = format!("{REGISTRATIONS}/image-swap-admission");
    eventually(|| fleet.get(&registration)).await;

    let directory = RunDir::new("removal").unwrap();
    directory.write("edge.yaml", manifest).unwrap();
    let kubectl = fleet.workload().kubectl();
    let programs = [env!("CARGO_BIN_EXE_image-swap").as_ref(), kubectl.get_program()];
    let folders = programs.map(|it| Path::new(it).parent().unwrap().to_owned());
    let present = env::var_os("PATH").unwrap_or_default();
    let folders = folders.into_iter().chain(env::split_paths(&present));
    let mut shell = Command::new("timeout");
    let commands = documented::commands("fleet.md", "### Removal from a cluster that pulls");
    shell.args(["100", "sh", "-euxc", &commands]);
    shell.env("KUBECONFIG", fleet.workload().kubeconfig());
    shell.env("PATH", env::join_paths(folders).unwrap());
    shell.env("HOME", directory.path()).current_dir(directory.path());
    let ran = block_in_place(|| shell.output().unwrap());
    let [printed, log] = [ran.stdout, ran.stderr].map(|it| String::from_utf8(it).unwrap());
    assert!(ran.status.success(), "{printed}{log}");
    assert!(printed.contains("0 nodes restored or unchanged"), "{printed}{log}");
    drop(controller);

    assert_eq!(fleet.get(&registration), None);
    // Only the namespaces are left, which no controller of Kubernetes ends here.
    let left = || {
        let mut get = fleet.workload().kubectl();
        get.args(["get", "--ignore-not-found", "--output=name", "--filename"]);
        let ran = block_in_place(|| get.arg(directory.path().join("edge.yaml")).output().unwrap());
        String::from_utf8(ran.stdout).unwrap()
    };
    let is_namespace = |line: &str| line.starts_with("namespace/");
    eventually(|| left().lines().all(is_namespace).then_some(())).await;
    for name in left().lines().filter_map(|line| line.strip_prefix("namespace/")) {
        let namespace = fleet.get(&format!("/api/v1/namespaces/{name}")).unwrap();
        assert!(namespace["metadata"]["deletionTimestamp"].is_string(), "{namespace}");
    }
}
