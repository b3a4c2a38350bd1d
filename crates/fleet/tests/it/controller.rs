//! The fleet controller on a management cluster with two workload clusters.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use image_swap_cluster::{Release, client};
use image_swap_core::{
    control::effective::{Effective, Origin, SecretData},
    fleet::inventory::ClusterSource,
    mirror::Fallback,
    status::StoredDeclaration,
};
use image_swap_fleet::{
    FleetController, FleetSettings, FleetTiming, remote::RemoteLimits, sources::SourceSettings,
};
use image_swap_testbed::{ControlPlane, ControlPlanes, Options, Parts, Wait, until};
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    task::{JoinHandle, block_in_place},
};

use crate::hub::NAMESPACE;

const DEADLINE: Duration = Duration::from_mins(2);
const RELEASE: &str = "image-swap";
const FLEET: &str = "image-swap-fleet";
const REGISTRY_INFO: &str = "/api/v1/namespaces/jet-system/secrets/registry-info";
const CONTROLLER: &str = "/apis/apps/v1/namespaces/image-swap/deployments/image-swap-controller";

/// A management cluster with a fleet controller, and two workload clusters.
struct Fleet {
    planes: ControlPlanes,
    leadership: watch::Sender<bool>,
    controller: Option<JoinHandle<()>>,
}

impl Fleet {
    /// Starts the clusters, and declares the registry with the number 1.
    async fn start() -> Self {
        let parts = Parts::present().unwrap();
        let planes =
            block_in_place(|| ControlPlanes::start(&parts, &Options::default(), 2)).unwrap();
        for namespace in [NAMESPACE, RELEASE, FLEET] {
            planes.hub.create_namespace(namespace).unwrap();
        }
        let helm = parts.helm().unwrap().helm4.clone();
        apply(&planes.hub, &render(&helm));
        let mut fleet = Self { planes, leadership: watch::channel(true).0, controller: None };
        fleet.declare(1, "one");
        for (index, name) in ["a", "b"].into_iter().enumerate() {
            let kubeconfig = fleet.planes.workloads[index].administrator_kubeconfig().unwrap();
            let secret = json!({
                "apiVersion": "v1", "kind": "Secret",
                "metadata": {
                    "name": name, "namespace": NAMESPACE,
                    "labels": { "image-swap.io/fleet-cluster": "enabled", "name": name },
                },
                "stringData": { "kubeconfig": kubeconfig },
            });
            apply(&fleet.planes.hub, &secret.to_string());
        }
        fleet.lead(|_| {}).await;
        fleet
    }

    /// Starts a fleet controller with other settings, in place of the present one.
    async fn lead(&mut self, change: impl FnOnce(&mut FleetSettings)) {
        if let Some(controller) = self.controller.take() {
            controller.abort();
            let _ = controller.await;
        }
        let client = client(Some(self.planes.hub.kubeconfig())).await.unwrap();
        let name = |name: &str| name.to_owned();
        let release = Release { namespace: name(RELEASE), name: name(RELEASE) };
        let limits = RemoteLimits { request: Duration::from_secs(5), ..RemoteLimits::default() };
        let mut settings = FleetSettings {
            bootstrap: None,
            namespace: name(FLEET),
            release: release.clone(),
            workload: release,
            sources: SourceSettings {
                namespaces: BTreeSet::from([name(NAMESPACE)]),
                selector: "".parse().unwrap(),
                sources: BTreeSet::from([ClusterSource::Kubeconfig]),
                providers: Vec::new(),
                search_interval: Duration::from_mins(1),
            },
            canary: None,
            wave_size: 0,
            timing: FleetTiming {
                compare: Duration::from_secs(2),
                longest_pause: Duration::from_secs(2),
                restore: Duration::from_secs(5),
                limits,
                ..FleetTiming::default()
            },
        };
        change(&mut settings);
        let controller = FleetController::new(&client, settings);
        let leadership = self.leadership.subscribe();
        self.controller = Some(tokio::spawn(async move { controller.run(leadership).await }));
    }

    /// Stores a declaration in force on the management cluster.
    fn declare(&self, revision: u64, path: &str) {
        let rules = format!("docker.io::harbor.example.org/{path}");
        let data = [
            ("DOMAIN", "harbor.example.org"),
            ("BASE_PATH", ""),
            ("USERNAME", "robot"),
            ("PASSWORD", "hunter2-hunter2"),
            ("INSECURE", "false"),
            ("MIRROR_REGISTRIES", &rules),
        ];
        let data = data.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()));
        let secret = SecretData { kind: "Opaque".to_owned(), data: BTreeMap::from(data) };
        let stored = StoredDeclaration(Effective { origin: Origin::RegistryInfo, secret }).data();
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {
                "name": "image-swap-last-good", "namespace": RELEASE,
                "annotations": { "image-swap.io/revision": revision.to_string() },
            },
            "stringData": stored,
        });
        apply(&self.planes.hub, &secret.to_string());
    }

    /// Waits until the object of a cluster `is_wanted`, and returns its status.
    fn wait(&self, cluster: &str, what: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let path = format!(
            "/apis/image-swap.io/v1alpha1/namespaces/{NAMESPACE}/workloadclusters/{cluster}.kubeconfig"
        );
        block_in_place(|| {
            until(&format!("{cluster} to be {what}"), DEADLINE, || {
                let object = self.planes.hub.get(&path)?.unwrap_or_default();
                let status = object["status"].clone();
                if is_wanted(&status) { Ok(status) } else { Err(Wait::NotYet(object.to_string())) }
            })
        })
        .unwrap()
    }

    /// Waits until the condition `Applied` of a cluster has `reason`.
    fn wait_applied(&self, cluster: &str, reason: &str) -> Value {
        self.wait(cluster, reason, |status| condition(status, "Applied")["reason"] == reason)
    }

    /// Waits until a cluster has the declaration `revision` with the folder `path`.
    fn wait_declared(&self, index: usize, revision: u64, path: &str) {
        let plane = &self.planes.workloads[index];
        let number = revision.to_string();
        block_in_place(|| {
            until(&format!("declaration {revision}"), DEADLINE, || {
                let secret = plane.get(REGISTRY_INFO)?.unwrap_or_default();
                let stored = &secret["metadata"]["annotations"]["image-swap.io/revision"];
                let is_wanted = stored.as_str() == Some(&number)
                    && text(&secret, "MIRROR_REGISTRIES")
                        == format!("docker.io::harbor.example.org/{path}");
                if is_wanted { Ok(()) } else { Err(Wait::NotYet(secret["metadata"].to_string())) }
            })
        })
        .unwrap();
        let cluster = ["a", "b"][index];
        self.wait(cluster, "applied", |status| {
            status["appliedRevision"] == revision
                && condition(status, "Applied")["status"] == "True"
        });
    }

    /// Waits until an object of a workload cluster `is_wanted`.
    fn wait_object(&self, index: usize, path: &str, is_wanted: impl Fn(Option<&Value>) -> bool) {
        block_in_place(|| {
            until(path, DEADLINE, || {
                let found = self.planes.workloads[index].get(path)?;
                if is_wanted(found.as_ref()) {
                    Ok(())
                } else {
                    Err(Wait::NotYet(found.unwrap_or_default().to_string()))
                }
            })
        })
        .unwrap();
    }

    fn annotate(&self, cluster: &str, annotation: &str) {
        let arguments =
            ["annotate", "secret", cluster, "--namespace", NAMESPACE, "--overwrite", annotation];
        kubectl(&self.planes.hub, &arguments);
    }
}

/// Runs kubectl on a cluster.
fn kubectl(plane: &ControlPlane, arguments: &[&str]) {
    let output = block_in_place(|| plane.kubectl().args(arguments).output()).unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

/// Returns the condition `kind` of a status; null if it is absent.
fn condition(status: &Value, kind: &str) -> Value {
    let mut all = status["conditions"].as_array().into_iter().flatten();
    all.find(|it| it["type"] == kind).cloned().unwrap_or_default()
}

/// Returns the value of a key of a Secret as text.
fn text(secret: &Value, key: &str) -> String {
    let encoded = secret["data"][key].as_str().unwrap_or_default();
    String::from_utf8(image_swap_text::base64::decode(encoded).unwrap_or_default()).unwrap()
}

/// Returns the bundle and the custom resource of the chart.
fn render(helm: &Path) -> String {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/image-swap");
    let mut command = Command::new(helm);
    command.arg("template").arg(RELEASE).arg(chart).args([
        "--namespace=image-swap",
        "--set=fleet.enabled=true,fleet.namespaces={clusters},image.registry=harbor.example.org",
        "--show-only=templates/fleet/bundle.yaml",
        "--show-only=templates/fleet/crd.yaml",
    ]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Applies manifests.
fn apply(plane: &ControlPlane, manifests: &str) {
    let mut kubectl = plane.kubectl();
    kubectl.args(["apply", "--server-side", "--force-conflicts", "--filename=-"]);
    let mut child =
        kubectl.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(manifests.as_bytes()).unwrap();
    let output = block_in_place(|| child.wait_with_output()).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

// guarantee: 6b
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn declaration_reaches_every_cluster_and_stays_in_force() {
    let mut fleet = Fleet::start().await;
    for index in [0, 1] {
        fleet.wait_declared(index, 1, "one");
        fleet.wait_object(index, CONTROLLER, |it| it.is_some());
    }

    // A change of the declaration.
    fleet.declare(2, "two");
    for index in [0, 1] {
        fleet.wait_declared(index, 2, "two");
    }

    // Drift is repaired.
    let scale = ["scale", "deployment", "image-swap-controller", "--replicas=0", "-nimage-swap"];
    kubectl(&fleet.planes.workloads[0], &scale);
    fleet.wait_object(0, CONTROLLER, |it| it.is_some_and(|it| it["spec"]["replicas"] == 1));

    // A field of another Apply manager is a conflict.
    let other = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "image-swap-controller", "namespace": "image-swap" },
        "spec": { "replicas": 3 },
    });
    apply(&fleet.planes.workloads[0], &other.to_string());
    let status = fleet.wait_applied("a", "Conflict");
    let message = condition(&status, "Conflict")["message"].to_string();
    assert!(message.contains("replicas"), "{message}");
    fleet.wait_object(0, CONTROLLER, |it| it.is_some_and(|it| it["spec"]["replicas"] == 3));
    assert!(!status.to_string().contains("hunter2"), "{status}");

    // A silent cluster delays no other one, and gets the declaration when it is back.
    fleet.planes.workloads[1].api_server().suspend().unwrap();
    let mine = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "image-swap-controller", "namespace": "image-swap" },
    });
    apply(&fleet.planes.workloads[0], &mine.to_string());
    fleet.declare(3, "three");
    fleet.wait_declared(0, 3, "three");
    fleet.wait_applied("b", "Unreachable");
    fleet.planes.workloads[1].api_server().resume().unwrap();
    fleet.wait_declared(1, 3, "three");

    // Another leader continues.
    fleet.lead(|_| {}).await;
    fleet.declare(4, "four");
    for index in [0, 1] {
        fleet.wait_declared(index, 4, "four");
    }

    // An administrator pauses a cluster, and goes back to an earlier declaration.
    fleet.annotate("a", "image-swap.io/fleet=2");
    fleet.wait_declared(0, 2, "two");
    fleet.annotate("a", "image-swap.io/fleet=paused");
    fleet.wait_applied("a", "Paused");
    fleet.declare(5, "five");
    fleet.wait_declared(1, 5, "five");
    fleet.annotate("a", "image-swap.io/fleet-");
    fleet.wait_declared(0, 5, "five");

    // Removal on request.
    fleet.annotate("b", "image-swap.io/fleet=removed");
    fleet.wait_applied("b", "Removed");
    fleet.wait_object(1, CONTROLLER, |it| it.is_none());
    fleet.wait_object(0, CONTROLLER, |it| it.is_some());

    // The declaration of the management cluster is gone: nothing changes.
    kubectl(
        &fleet.planes.hub,
        &["delete", "secret", "image-swap-last-good", "--namespace", RELEASE],
    );
    fleet.wait_applied("a", "Orphaned");
    fleet.wait_object(0, REGISTRY_INFO, |it| it.is_some());
}

/// Waits until the bootstrap script of the management cluster `is_wanted`, and returns its Secret.
fn wait_script(fleet: &Fleet, what: &str, is_wanted: impl Fn(&str) -> bool) -> Value {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets/image-swap-bootstrap");
    let found = || {
        let secret = fleet.planes.hub.get(&path)?.unwrap_or_default();
        let is_there = is_wanted(&text(&secret, "bootstrap.sh"));
        if is_there { Ok(secret) } else { Err(Wait::NotYet(secret.to_string())) }
    };
    block_in_place(|| until(&format!("the script {what}"), DEADLINE, found)).unwrap()
}

// guarantee: 6b
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn bootstrap_script_follows_the_declaration() {
    let mut fleet = Fleet::start().await;
    fleet.lead(|settings| settings.bootstrap = Some(Fallback::Upstream)).await;
    let secret = wait_script(&fleet, "of one", |it| it.contains("harbor.example.org/v2/one"));
    assert_eq!(secret["metadata"]["labels"]["clusterctl.cluster.x-k8s.io/move"], "");
    assert!(secret["metadata"]["ownerReferences"].is_null());
    // The credential stays out: user data is readable for pods.
    let script = text(&secret, "bootstrap.sh");
    assert!(!script.contains("Authorization") && !script.contains("hunter2"), "{script}");
    fleet.declare(2, "two");
    wait_script(&fleet, "of two", |it| it.contains("harbor.example.org/v2/two"));
    // A machine without the Secret could not join.
    let deleted = ["delete", "secret", "image-swap-bootstrap", "--namespace", NAMESPACE];
    kubectl(&fleet.planes.hub, &deleted);
    wait_script(&fleet, "again", |it| it.contains("harbor.example.org/v2/two"));
    // Without a declaration new machines keep the last one.
    let deleted = ["delete", "secret", "image-swap-last-good", "--namespace", RELEASE];
    kubectl(&fleet.planes.hub, &deleted);
    fleet.wait_applied("a", "Orphaned");
    wait_script(&fleet, "of two", |it| it.contains("harbor.example.org/v2/two"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn one_cluster_in_two_entries_has_one_in_force() {
    let fleet = Fleet::start().await;
    fleet.wait_declared(0, 1, "one");
    let kubeconfig = fleet.planes.workloads[0].administrator_kubeconfig().unwrap();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {
            "name": "again", "namespace": NAMESPACE,
            "labels": { "image-swap.io/fleet-cluster": "enabled" },
        },
        "stringData": { "kubeconfig": kubeconfig },
    });
    apply(&fleet.planes.hub, &secret.to_string());
    let status = fleet.wait_applied("again", "Duplicate");
    let message = condition(&status, "Applied")["message"].to_string();
    assert!(message.contains("clusters/a.kubeconfig"), "{message}");
    fleet.declare(2, "two");
    fleet.wait_declared(0, 2, "two");

    // A kubeconfig that would run a program.
    let exec = kubeconfig_with_exec();
    let mut refused = secret;
    refused["metadata"]["name"] = "refused".into();
    refused["stringData"]["kubeconfig"] = exec.into();
    apply(&fleet.planes.hub, &refused.to_string());
    let status = fleet.wait_applied("refused", "Refused");
    assert!(condition(&status, "Applied")["message"].to_string().contains("exec"), "{status}");
}

fn kubeconfig_with_exec() -> String {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
        "clusters": [{ "name": "c", "cluster": { "server": "https://127.0.0.1:1" } }],
        "users": [{ "name": "u", "user": { "exec": { "command": "true" } } }],
    })
    .to_string()
}
