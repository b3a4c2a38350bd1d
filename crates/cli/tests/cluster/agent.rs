//! The agent of a node, on a host that is a directory.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use image_swap_core::{
    control::effective::{Effective, Origin, SecretData},
    mirror::Fallback,
    status::{NodeDeclaration, NodeMirrorStatus, NodeRevision, NodeTrial},
};
use image_swap_testbed::Process;
use serde_json::json;
use tempfile::TempDir;

use crate::test_cluster::{NAMESPACE, NODE_MIRRORS, SECRETS, TestCluster, eventually, keys};

const NODE: &str = "worker-1";
/// The Secret that agents follow.
const DECLARED: &str = "image-swap-nodes";
const HOSTS: &str = "etc/containerd/certs.d/docker.io/hosts.toml";
const CONFIG: &str = "etc/containerd/config.toml";

/// A cluster with one Node, and the directory that is its host.
struct NodeStage {
    cluster: TestCluster,
    host: TempDir,
    agent: Process,
}

impl NodeStage {
    /// Starts the agent of a host with `config`. There is no `NodeMirror` and no declaration yet.
    async fn set(config: &str) -> Self {
        let cluster = TestCluster::set().await;
        cluster.define_node_mirrors().await;
        let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": NODE } });
        cluster.request("POST", "/api/v1/nodes", Some(&node));
        let host = mk_host(config);
        let mut agent = agent_of(NODE, host.path(), cluster.control_plane.kubeconfig());
        agent.start().unwrap();
        Self { cluster, host, agent }
    }

    /// Creates the `NodeMirror`, as the controller does.
    fn create_mirror(&self, runtime: &str) {
        let node = self.cluster.get(&format!("/api/v1/nodes/{NODE}")).unwrap();
        let uid = node["metadata"]["uid"].clone();
        let mirror = image_swap_testkit::node_mirror(NODE, uid, runtime);
        self.cluster.request("POST", NODE_MIRRORS, Some(&mirror));
    }

    fn declare(&self, declaration: &NodeDeclaration) {
        self.cluster.declare(SECRETS, DECLARED, &declaration.data());
    }

    fn status(&self) -> NodeMirrorStatus {
        let mirror = self.cluster.get(&format!("{NODE_MIRRORS}/{NODE}")).unwrap();
        serde_json::from_value(mirror.get("status").cloned().unwrap_or(json!({}))).unwrap()
    }

    /// Waits until the condition `Applied` has this status and reason, and the applied
    /// declaration this number.
    async fn reports(&self, status: &str, reason: &str, number: Option<u64>) -> NodeMirrorStatus {
        let is_expected = |found: &NodeMirrorStatus| {
            let applied = found.condition("Applied");
            found.applied_revision == number
                && applied.is_some_and(|it| it.status == status && it.reason == reason)
        };
        eventually(|| Some(self.status()).filter(is_expected)).await
    }

    fn at(&self, path: &str) -> PathBuf {
        self.host.path().join("root").join(path)
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap_or_default()
    }

    /// Returns every path of the host, and the bytes of every file.
    fn tree(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut tree = BTreeMap::new();
        add(&self.at(""), &mut tree);
        tree
    }

    /// Checks that neither log nor status contains a credential.
    fn assert_no_credential(&self) {
        let log = fs::read_to_string(self.agent.log()).unwrap();
        let mirror = self.cluster.get(&format!("{NODE_MIRRORS}/{NODE}")).unwrap().to_string();
        let header = BASE64_STANDARD.encode("robot:s3cret-of-the-robot");
        for secret in ["s3cret-of-the-robot", &header] {
            assert!(!log.contains(secret), "{log}");
            assert!(!mirror.contains(secret), "{mirror}");
        }
    }

    /// Returns the table of all columns that `kubectl get` prints.
    fn table(&self) -> String {
        let mut kubectl = self.cluster.control_plane.kubectl();
        let output = kubectl.args(["get", "nmir", "--output=wide"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Sends a signal to the agent.
    fn signal(&self, name: &str) {
        let pid = self.agent.pid().unwrap().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }
}

/// Creates the directories that the chart mounts, apart from that of the ledger, and `config` of
/// containerd.
pub(crate) fn mk_host(config: &str) -> TempDir {
    let host = tempfile::tempdir().unwrap();
    for directory in ["etc/containerd/certs.d", "var/lib", "run/systemd/units"] {
        fs::create_dir_all(host.path().join("root").join(directory)).unwrap();
    }
    fs::write(host.path().join("root").join(CONFIG), config).unwrap();
    host
}

/// Returns the agent of `node`, whose host is in the directory `host`.
pub(crate) fn agent_of(node: &str, host: &Path, kubeconfig: &Path) -> Process {
    let program = env!("CARGO_BIN_EXE_image-swap");
    Process::new("agent", program, host.join("log")).arguments([
        "agent",
        "--namespace",
        NAMESPACE,
        "--node",
        node,
        "--runtime",
        "containerd",
        "--resync",
        "10s",
        "--root",
        host.join("root").to_str().unwrap(),
        "--kubeconfig",
        kubeconfig.to_str().unwrap(),
    ])
}

fn add(path: &Path, tree: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tree.insert(path.clone(), Vec::new());
            add(&path, tree);
        } else {
            // A file that waits for its place may be moved there meanwhile.
            tree.insert(path.clone(), fs::read(&path).unwrap_or_default());
        }
    }
}

/// Returns the declaration `number`: a registry on `domain`, with a credential.
fn revision(number: u64, domain: &str) -> NodeRevision {
    let data = keys(domain).into_iter().map(|(key, value)| (key.to_owned(), value.into_bytes()));
    let secret = SecretData { kind: "Opaque".into(), data: data.collect() };
    let effective = Effective { origin: Origin::RegistryInfo, secret };
    NodeRevision { number, effective: effective.for_nodes(true), fallback: Fallback::Never }
}

fn verified(number: u64, domain: &str) -> NodeDeclaration {
    NodeDeclaration { verified: Some(revision(number, domain)), ..NodeDeclaration::default() }
}

fn restore() -> NodeDeclaration {
    NodeDeclaration { restore: true, ..NodeDeclaration::default() }
}

pub(crate) fn config_with_path() -> String {
    image_swap_testkit::config_with_path("/etc/containerd/certs.d")
}

// guarantee: 3c, 5a, 6b
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn declaration_reaches_the_host_and_stays_there() {
    let stage = NodeStage::set(&config_with_path()).await;
    let before = stage.tree();
    stage.declare(&verified(1, "old.example.org"));
    // The agent waits for the object, as the version of the runtime is in it.
    stage.create_mirror("containerd://2.4.1");
    assert!(!stage.table().contains("<no value>"), "{}", stage.table());
    let status = stage.reports("True", "InPlace", Some(1)).await;
    assert!(stage.read(HOSTS).contains("old.example.org"), "{}", stage.read(HOSTS));
    let node = stage.cluster.get(&format!("/api/v1/nodes/{NODE}")).unwrap();
    assert_eq!(node["metadata"]["uid"], *status.node_uid);
    assert_eq!(status.boot_id.len(), 36);
    assert_eq!((status.wanted_revision, status.command.as_deref()), (Some(1), None));
    let restart = status.condition("NeedsRestart").unwrap();
    assert_eq!((&*restart.status, &*restart.reason), ("Unknown", "StartUnknown"));
    assert_eq!(status.condition("Degraded").unwrap().status, "False", "{status:?}");

    assert!(!stage.table().contains("<no value>"), "{}", stage.table());

    // A trial on other nodes is ignored, one on this node is applied.
    let mut declaration = verified(1, "old.example.org");
    let trial = |nodes: &[&str]| NodeTrial {
        revision: revision(2, "new.example.org"),
        nodes: names(nodes),
    };
    declaration.trial = Some(trial(&["worker-2"]));
    stage.declare(&declaration);
    declaration.trial = Some(trial(&["worker-2", NODE]));
    stage.declare(&declaration);
    stage.reports("True", "InPlace", Some(2)).await;
    let written = stage.read(HOSTS);
    assert!(written.contains("new.example.org") && !written.contains("old."), "{written}");

    // Another program changes and removes files.
    fs::write(stage.at(HOSTS), "server = \"https://elsewhere.example.org\"\n").unwrap();
    eventually(|| (stage.read(HOSTS) == written).then_some(())).await;
    fs::remove_file(stage.at(HOSTS)).unwrap();
    eventually(|| (stage.read(HOSTS) == written).then_some(())).await;

    // The Secret disappears, and comes back malformed or invalid: nothing changes. The change is
    // complete once no new file waits beside an old one.
    let is_new = |path: &PathBuf| path.to_string_lossy().ends_with(".image-swap");
    let tree = eventually(|| Some(stage.tree()).filter(|tree| !tree.keys().any(is_new))).await;
    let path = format!("{SECRETS}/{DECLARED}");
    stage.cluster.request("DELETE", &path, None);
    let status = stage.reports("False", "NoDeclaration", Some(2)).await;
    assert_eq!(status.wanted_revision, None);
    assert_eq!(stage.tree(), tree);
    stage.declare(&declaration);
    stage.reports("True", "InPlace", Some(2)).await;
    let malformed = BTreeMap::from([("revision", "x".to_owned()), ("restore", "yes".to_owned())]);
    stage.cluster.declare(SECRETS, DECLARED, &malformed);
    stage.reports("False", "NoDeclaration", Some(2)).await;
    assert_eq!(stage.tree(), tree);
    let mut invalid = verified(3, "new.example.org").data();
    invalid.insert("declaration", "{}".to_owned());
    stage.cluster.declare(SECRETS, DECLARED, &invalid);
    let status = stage.reports("False", "InvalidDeclaration", Some(2)).await;
    assert_eq!(status.wanted_revision, Some(3));
    assert_eq!(stage.tree(), tree);

    // The restored host has its original bytes, and the agent runs on.
    stage.cluster.declare(SECRETS, DECLARED, &restore().data());
    stage.reports("False", "Restored", None).await;
    assert_eq!(stage.tree(), before);
    let empty = NodeRevision { effective: Effective::none(), ..revision(4, "new.example.org") };
    stage.declare(&NodeDeclaration { verified: Some(empty), ..NodeDeclaration::default() });
    stage.reports("True", "InPlace", Some(4)).await;
    assert_eq!(stage.tree(), before);
    stage.assert_no_credential();
}

// guarantee: 5d, 6b
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn stopped_agent_restores_only_on_request() {
    let mut stage = NodeStage::set(&config_with_path()).await;
    let before = stage.tree();
    stage.create_mirror("containerd://2.4.1");
    stage.reports("False", "NoDeclaration", None).await;
    stage.declare(&verified(1, "old.example.org"));
    stage.reports("True", "InPlace", Some(1)).await;
    let tree = stage.tree();
    stage.agent.stop().unwrap();
    assert_eq!(stage.tree(), tree);

    // Another process takes over.
    stage.agent.start().unwrap();
    stage.declare(&verified(2, "new.example.org"));
    stage.reports("True", "InPlace", Some(2)).await;
    // The demand and SIGTERM arrive together.
    stage.signal("STOP");
    stage.declare(&restore());
    stage.signal("TERM");
    stage.signal("CONT");
    stage.agent.stop().unwrap();
    assert_eq!(stage.tree(), before);
    let status = stage.status();
    assert_eq!(status.condition("Applied").unwrap().reason, "Restored");
    stage.assert_no_credential();
}

// guarantee: 6b
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn host_that_needs_a_restart_is_unchanged() {
    let stage = NodeStage::set("version = 2\n").await;
    let before = stage.tree();
    stage.declare(&verified(1, "old.example.org"));
    stage.create_mirror("containerd://1.7.27");
    let status = stage.reports("False", "RestartRequired", None).await;
    assert_eq!(stage.tree(), before);
    assert_eq!(status.wanted_revision, Some(1));
    let restart = status.condition("NeedsRestart").unwrap();
    assert_eq!((&*restart.status, &*restart.reason), ("True", "RestartRequired"));
    let command = status.command.as_deref().unwrap();
    let expected = "image-swap node apply --restart allow --runtime containerd";
    assert!(command.starts_with(expected), "{command}");
    assert!(command.contains("--fallback never"), "{command}");
    assert!(restart.message.contains(command), "{}", restart.message);
    stage.assert_no_credential();

    // An administrator has done it: the agent finds the files in place by itself.
    fs::write(stage.at(CONFIG), config_with_path()).unwrap();
    stage.reports("True", "InPlace", Some(1)).await;
    assert!(stage.read(HOSTS).contains("old.example.org"), "{}", stage.read(HOSTS));
}

fn names(nodes: &[&str]) -> BTreeSet<String> {
    nodes.iter().map(|it| (*it).to_owned()).collect()
}
