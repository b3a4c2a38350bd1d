//! A management cluster with a fleet controller.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use image_swap_cluster::{Release, client};
use image_swap_core::{fleet::inventory::ClusterSource, status::workload_cluster::state};
use image_swap_fleet::{
    FleetController, FleetReport, FleetSettings, FleetTiming, remote::RemoteLimits,
    sources::SourceSettings,
};
use image_swap_testbed::{ControlPlane, ControlPlanes, Options, Parts, Wait, until};
use image_swap_testkit::{last_good, registry_keys};
use kube::Client;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    task::{JoinHandle, block_in_place},
    time::timeout,
};

use crate::{
    fake::{ADMINISTRATOR, FakeServer},
    hub::NAMESPACE,
};

pub(crate) const DEADLINE: Duration = Duration::from_mins(2);
pub(crate) const RELEASE: &str = "image-swap";
/// Namespace of the fleet controller.
pub(crate) const FLEET: &str = "image-swap-fleet";
pub(crate) const REGISTRY_INFO: &str = "/api/v1/namespaces/jet-system/secrets/registry-info";
pub(crate) const CONTROLLER: &str =
    "/apis/apps/v1/namespaces/image-swap/deployments/image-swap-controller";
/// Names of the entries of real workload clusters.
const NAMES: [&str; 3] = ["a", "b", "c"];

/// A management cluster with a fleet controller, and real workload clusters.
pub(crate) struct Fleet {
    pub(crate) planes: ControlPlanes,
    pub(crate) leadership: watch::Sender<bool>,
    controller: Option<JoinHandle<()>>,
    /// Report of the last fleet controller.
    report: watch::Receiver<FleetReport>,
}

impl Fleet {
    /// Starts a management cluster with `number` workload clusters, three at most, declares the
    /// registry with the number 1, and starts the fleet controller.
    pub(crate) async fn with_clusters(number: usize) -> Self {
        let mut fleet = Self::prepare(number);
        for (plane, name) in fleet.planes.workloads.iter().zip(NAMES) {
            fleet.enter(name, &plane.administrator_kubeconfig().unwrap());
        }
        fleet.lead(|_| {}).await;
        fleet
    }

    /// Starts a management cluster and `number` workload clusters without entries, and declares the
    /// registry with the number 1. No fleet controller runs.
    pub(crate) fn prepare(number: usize) -> Self {
        let parts = Parts::present().unwrap();
        let planes =
            block_in_place(|| ControlPlanes::start(&parts, &Options::default(), number)).unwrap();
        for namespace in [NAMESPACE, RELEASE, FLEET] {
            planes.hub.create_namespace(namespace).unwrap();
        }
        let helm = parts.helm().unwrap().helm4.clone();
        apply(&planes.hub, &render(&helm));
        let (leadership, report) =
            (watch::channel(true).0, watch::channel(FleetReport::default()).1);
        let fleet = Self { planes, leadership, controller: None, report };
        fleet.declare(1, "one");
        fleet
    }

    /// Enters a cluster into the inventory, or replaces its kubeconfig.
    pub(crate) fn enter(&self, name: &str, kubeconfig: &str) {
        self.enter_in(NAMESPACE, name, kubeconfig);
    }

    /// Starts a stand-in for the API server of a cluster, and enters the cluster into the inventory.
    pub(crate) async fn enter_fake(&self, name: &str) -> FakeServer {
        let server = FakeServer::start(name).await;
        self.enter(name, &server.kubeconfig(ADMINISTRATOR));
        server
    }

    pub(crate) fn enter_in(&self, namespace: &str, name: &str, kubeconfig: &str) {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {
                "name": name, "namespace": namespace,
                "labels": { "image-swap.io/fleet-cluster": "enabled", "name": name },
            },
            "stringData": { "kubeconfig": kubeconfig },
        });
        apply(&self.planes.hub, &secret.to_string());
    }

    /// Starts a fleet controller with other settings, in place of the present one.
    pub(crate) async fn lead(&mut self, change: impl FnOnce(&mut FleetSettings)) {
        let client = client(Some(self.planes.hub.kubeconfig())).await.unwrap();
        self.lead_by(&client, change).await;
    }

    /// Starts a fleet controller with the rights of `client`, in place of the present one.
    pub(crate) async fn lead_by(
        &mut self,
        client: &Client,
        change: impl FnOnce(&mut FleetSettings),
    ) {
        self.kill().await;
        let mut settings = settings();
        change(&mut settings);
        let controller = FleetController::new(client, settings);
        self.report = controller.report();
        let leadership = self.leadership.subscribe();
        self.controller = Some(tokio::spawn(async move { controller.run(leadership).await }));
    }

    /// Ends the fleet controller at once.
    pub(crate) async fn kill(&mut self) {
        if let Some(controller) = self.controller.take() {
            controller.abort();
            let _ = controller.await;
        }
    }

    /// Waits until the fleet controller has applied the declaration `revision` to the only cluster,
    /// which sends no heartbeats.
    pub(crate) async fn applied(&self, revision: u64) {
        let expected = FleetReport {
            states: BTreeMap::from([(state::UPDATING.to_owned(), 1)]),
            revision: Some(revision),
            ..FleetReport::default()
        };
        let mut report = self.report.clone();
        let found = timeout(DEADLINE, report.wait_for(|it| *it == expected)).await;
        assert!(found.is_ok(), "{:?}", self.report.borrow());
    }

    /// Stores a declaration in force on the management cluster.
    pub(crate) fn declare(&self, revision: u64, path: &str) {
        let secret = last_good(RELEASE, revision, registry_keys(path));
        apply(&self.planes.hub, &secret.to_string());
    }

    /// Waits until the object of a cluster `is_wanted`, and returns its status.
    pub(crate) fn wait(
        &self,
        cluster: &str,
        what: &str,
        is_wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        self.wait_in(NAMESPACE, cluster, what, is_wanted)
    }

    pub(crate) fn wait_in(
        &self,
        namespace: &str,
        cluster: &str,
        what: &str,
        is_wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        self.wait_report(&report(namespace, cluster), what, is_wanted)
    }

    /// Waits until the report at `path` `is_wanted`, and returns its status.
    pub(crate) fn wait_report(
        &self,
        path: &str,
        what: &str,
        is_wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        wait_until(&format!("{path} to be {what}"), || {
            let object = self.planes.hub.get(path).ok().flatten().unwrap_or_default();
            let status = object["status"].clone();
            if is_wanted(&status) { Ok(status) } else { Err(object.to_string()) }
        })
    }

    /// Waits until the condition `Applied` of a cluster has `reason`.
    pub(crate) fn wait_applied(&self, cluster: &str, reason: &str) -> Value {
        self.wait(cluster, reason, |status| condition(status, "Applied")["reason"] == reason)
    }

    /// Waits for an Event with `reason` about the object `name` of the management cluster.
    pub(crate) fn wait_event(&self, namespace: &str, name: &str, reason: &str) -> Value {
        let path = format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events");
        let is_it = |it: &&Value| it["reason"] == reason && it["regarding"]["name"] == name;
        wait_until(&format!("an Event {reason} about {name}"), || {
            let list = self.planes.hub.get(&path).ok().flatten().unwrap_or_default();
            let found = list["items"].as_array().and_then(|all| all.iter().find(is_it).cloned());
            found.ok_or_else(|| list.to_string())
        })
    }

    /// Waits until a cluster has the declaration `revision` with the folder `path`.
    pub(crate) fn wait_declared(&self, index: usize, revision: u64, path: &str) {
        let plane = &self.planes.workloads[index];
        wait_until(&format!("declaration {revision}"), || {
            let secret = plane.get(REGISTRY_INFO).ok().flatten().unwrap_or_default();
            check_declared(&secret, revision, path)
        });
        self.wait_stored(NAMES[index], revision);
    }

    /// Waits until a stand-in has the declaration `revision` with the folder `path`.
    pub(crate) fn wait_fake(&self, name: &str, server: &FakeServer, revision: u64, path: &str) {
        wait_until(&format!("declaration {revision} in {name}"), || {
            let secret = server.get(REGISTRY_INFO).unwrap_or_default();
            check_declared(&secret, revision, path)
        });
        self.wait_stored(name, revision);
    }

    /// Waits until the report of a cluster has the declaration `revision` as stored.
    pub(crate) fn wait_stored(&self, cluster: &str, revision: u64) {
        self.wait(cluster, "applied", |status| {
            status["appliedRevision"] == revision
                && condition(status, "Applied")["status"] == "True"
        });
    }

    /// Waits until an object of a workload cluster `is_wanted`.
    pub(crate) fn wait_object(
        &self,
        index: usize,
        path: &str,
        is_wanted: impl Fn(Option<&Value>) -> bool,
    ) {
        wait_until(path, || {
            let found = self.planes.workloads[index].get(path).map_err(|it| it.to_string())?;
            if is_wanted(found.as_ref()) {
                Ok(())
            } else {
                Err(found.unwrap_or_default().to_string())
            }
        });
    }

    pub(crate) fn annotate(&self, cluster: &str, annotation: &str) {
        let arguments =
            ["annotate", "secret", cluster, "--namespace", NAMESPACE, "--overwrite", annotation];
        kubectl(&self.planes.hub, &arguments);
    }

    /// Returns the Secrets with tokens of workload clusters, by their clusters.
    pub(crate) fn tokens(&self) -> BTreeMap<String, Value> {
        let path = format!("/api/v1/namespaces/{FLEET}/secrets");
        let found = block_in_place(|| self.planes.hub.get(&path)).unwrap().unwrap_or_default();
        let cluster = |it: &Value| {
            let cluster = &it["metadata"]["annotations"]["image-swap.io/workload-cluster"];
            Some((cluster.as_str()?.to_owned(), it.clone()))
        };
        found["items"].as_array().into_iter().flatten().filter_map(cluster).collect()
    }

    /// Returns the Secret with the token for a cluster; null without one.
    pub(crate) fn token(&self, cluster: &str) -> Value {
        self.tokens().remove(&format!("{NAMESPACE}/{cluster}.kubeconfig")).unwrap_or_default()
    }

    /// Waits until the token for a cluster is another one than `old`.
    pub(crate) fn wait_token(&self, cluster: &str, old: &str) {
        wait_until(&format!("a new token of {cluster}"), || {
            let new = text(&self.token(cluster), "token");
            if new.is_empty() || new == old { Err(String::new()) } else { Ok(()) }
        });
    }
}

/// Waits until `look` succeeds. Its error is the state that was found.
pub(crate) fn wait_until<T>(what: &str, look: impl Fn() -> Result<T, String>) -> T {
    block_in_place(|| until(what, DEADLINE, || look().map_err(Wait::NotYet))).unwrap()
}

/// Returns the settings of a fleet controller.
pub(crate) fn settings() -> FleetSettings {
    let name = |name: &str| name.to_owned();
    let release = Release { namespace: name(RELEASE), name: name(RELEASE) };
    let limits = RemoteLimits { request: Duration::from_secs(5), ..RemoteLimits::default() };
    FleetSettings {
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
        has_cluster_metrics: false,
        timing: FleetTiming {
            compare: Duration::from_secs(2),
            longest_pause: Duration::from_secs(2),
            restore: Duration::from_secs(5),
            limits,
            ..FleetTiming::default()
        },
    }
}

/// Returns the path of the report about a cluster.
pub(crate) fn report(namespace: &str, cluster: &str) -> String {
    format!(
        "/apis/image-swap.io/v1alpha1/namespaces/{namespace}/workloadclusters/{cluster}.kubeconfig"
    )
}

/// Returns an error with the metadata of `secret` unless it has the declaration `revision`.
pub(crate) fn check_declared(secret: &Value, revision: u64, path: &str) -> Result<(), String> {
    let stored = &secret["metadata"]["annotations"]["image-swap.io/revision"];
    let rules = format!("docker.io::harbor.example.org/{path}");
    let is_wanted = stored.as_str() == Some(&revision.to_string())
        && text(secret, "MIRROR_REGISTRIES") == rules;
    if is_wanted { Ok(()) } else { Err(secret["metadata"].to_string()) }
}

/// Runs kubectl on a cluster. Returns its output.
pub(crate) fn kubectl(plane: &ControlPlane, arguments: &[&str]) -> String {
    let output = block_in_place(|| plane.kubectl().args(arguments).output()).unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the condition `kind` of a status; null if it is absent.
pub(crate) fn condition(status: &Value, kind: &str) -> Value {
    let mut all = status["conditions"].as_array().into_iter().flatten();
    all.find(|it| it["type"] == kind).cloned().unwrap_or_default()
}

/// Returns the value of a key of a Secret as text.
pub(crate) fn text(secret: &Value, key: &str) -> String {
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
pub(crate) fn apply(plane: &ControlPlane, manifests: &str) {
    let mut kubectl = plane.kubectl();
    kubectl.args(["apply", "--server-side", "--force-conflicts", "--filename=-"]);
    let mut child =
        kubectl.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(manifests.as_bytes()).unwrap();
    let output = block_in_place(|| child.wait_with_output()).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
