//! A management cluster with a fleet controller, and a workload cluster that it cannot reach.

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    process::{Command, Output, Stdio},
    time::Duration,
};

use image_swap_cluster::{AgentSettings, Controller, Intervals, Release, Settings, client};
use image_swap_core::{fleet::inventory::ClusterSource, status::ControllerReport};
use image_swap_fleet::{FleetController, FleetSettings, FleetTiming, sources::SourceSettings};
use image_swap_testbed::{ControlPlane, ControlPlanes, Options, RunDir};
use image_swap_testkit::{last_good, registry_keys};
use kube::Client;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    task::{JoinHandle, block_in_place},
};

use crate::test_cluster::{chart, eventually, intervals, parts, pod, settings};

/// Namespace of the fleet's clusters.
pub(super) const CLUSTERS: &str = "clusters";
const RELEASE: &str = "image-swap";
const FLEET: &str = "image-swap-fleet";
pub(super) const REGISTRY_INFO: &str = "/api/v1/namespaces/jet-system/secrets/registry-info";
pub(super) const HUB_SECRET: &str = "/api/v1/namespaces/image-swap/secrets/image-swap-hub";
/// Templates of the chart with the objects of the fleet.
const TEMPLATES: [&str; 12] = [
    "bundle",
    "crd",
    "serviceaccount",
    "clusterrole",
    "clusterrolebinding",
    "role",
    "rolebinding",
    "releaserole",
    "releaserolebinding",
    "clustersrole",
    "clustersrolebinding",
    "namespace",
];

/// Both clusters, and their controllers.
pub(super) struct PullFleet {
    pub(super) planes: ControlPlanes,
    files: RunDir,
    _fleet: ControllerTask,
    _leadership: watch::Sender<bool>,
}

/// Task that ends when it is dropped.
pub(super) struct ControllerTask(JoinHandle<()>);

impl Drop for ControllerTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl PullFleet {
    /// Starts the clusters, and a fleet controller with the rights of the chart.
    pub(super) async fn start() -> Self {
        let planes =
            block_in_place(|| ControlPlanes::start(parts(), &Options::default(), 1)).unwrap();
        for namespace in [CLUSTERS, RELEASE] {
            planes.hub.create_namespace(namespace).unwrap();
        }
        apply(&planes.hub, &render());
        let files = RunDir::new("pull").unwrap();
        let token = planes.hub.issue_token(FLEET, FLEET).unwrap();
        let client = by_token(&planes.hub, &files, &token).await;
        let leadership = watch::Sender::new(true);
        let controller = FleetController::new(&client, fleet_settings());
        let leads = leadership.subscribe();
        let task = tokio::spawn(async move { controller.run(leads).await });
        let fleet = Self { planes, files, _fleet: ControllerTask(task), _leadership: leadership };
        fleet.declare(1, "one");
        fleet
    }

    pub(super) fn workload(&self) -> &ControlPlane {
        &self.planes.workloads[0]
    }

    /// Stores a declaration in force on the management cluster.
    pub(super) fn declare(&self, revision: u64, path: &str) {
        let secret = last_good(RELEASE, revision, registry_keys(path));
        apply(&self.planes.hub, &secret.to_string());
    }

    /// Runs the program on the management cluster.
    pub(super) fn run(&self, arguments: &[&str]) -> Output {
        block_in_place(|| {
            Command::new(env!("CARGO_BIN_EXE_image-swap"))
                .args(arguments)
                .arg("--kubeconfig")
                .arg(self.planes.hub.kubeconfig())
                .output()
                .unwrap()
        })
    }

    /// Runs `fleet enroll` for the cluster `edge`, and returns the manifest.
    pub(super) fn enroll(&self) -> String {
        let ran = self.run(&["fleet", "enroll", "edge", "--namespace", CLUSTERS]);
        let note = String::from_utf8(ran.stderr).unwrap();
        assert!(ran.status.success(), "{note}");
        let manifest = String::from_utf8(ran.stdout).unwrap();
        assert!(note.contains("edge has declaration") && !note.contains("hunter2"), "{note}");
        manifest
    }

    /// Starts the controller of the workload cluster, with the rights of the manifest.
    pub(super) async fn controller(&self) -> (watch::Receiver<ControllerReport>, ControllerTask) {
        self.controller_with(None).await
    }

    /// Starts the controller of the workload cluster with these agents.
    pub(super) async fn controller_with(
        &self,
        agents: Option<AgentSettings>,
    ) -> (watch::Receiver<ControllerReport>, ControllerTask) {
        let token = self.workload().issue_token(RELEASE, "image-swap-controller").unwrap();
        let client = by_token(self.workload(), &self.files, &token).await;
        let settings = Settings {
            release: release(),
            chart_secret: None,
            agents,
            heartbeat: true,
            hub_secret: Some("image-swap-hub".into()),
            ..settings()
        };
        let intervals = Intervals { hub: Duration::from_mins(1), ..intervals() };
        let controller = Controller::new(&client, settings, "one", intervals);
        let report = controller.report();
        let task = tokio::spawn(async move {
            let leadership = watch::Sender::new(true);
            Box::pin(controller.run(leadership.subscribe())).await;
        });
        (report, ControllerTask(task))
    }

    /// Runs a pod on the workload cluster.
    pub(super) fn run_pod(&self, image: &str) {
        let pods = "/api/v1/namespaces/apps/pods";
        let mut created = pod();
        created["metadata"]["name"] = "one".into();
        created["spec"]["containers"][0]["image"] = image.into();
        block_in_place(|| self.workload().create_namespace("apps").unwrap());
        block_in_place(|| self.workload().create(pods, &created).unwrap());
        let status = json!({ "status": { "phase": "Running" } });
        Self::patch(self.workload(), &format!("{pods}/one/status"), &status);
    }

    /// Returns a client of the management cluster with the token of the workload cluster.
    pub(super) async fn as_workload(&self) -> Client {
        let token = text(&self.get(HUB_SECRET).unwrap(), "token");
        by_token(&self.planes.hub, &self.files, &token).await
    }

    /// Returns a client of the management cluster with a token of the cluster `cluster`.
    pub(super) async fn as_cluster(&self, cluster: &str) -> Client {
        let account = format!("image-swap-pull-{cluster}");
        let token = block_in_place(|| self.planes.hub.issue_token(CLUSTERS, &account)).unwrap();
        by_token(&self.planes.hub, &self.files, &token).await
    }

    /// Returns an object of the workload cluster.
    pub(super) fn get(&self, path: &str) -> Option<Value> {
        block_in_place(|| self.workload().get(path).unwrap())
    }

    /// Waits until the workload cluster has the declaration `revision` with the folder `path`.
    pub(super) async fn declared(&self, revision: u64, path: &str) {
        let rules = format!("docker.io::harbor.example.org/{path}");
        let number = revision.to_string();
        let is_declared = |secret: &Value| {
            secret["metadata"]["annotations"]["image-swap.io/revision"].as_str() == Some(&*number)
                && text(secret, "MIRROR_REGISTRIES") == rules
        };
        eventually(|| self.get(REGISTRY_INFO).filter(is_declared)).await;
    }

    /// Waits until the report on the management cluster satisfies `enough`.
    pub(super) async fn reported(&self, enough: impl Fn(&Value) -> bool) -> Value {
        eventually(|| self.report().filter(|it| enough(&it["status"]))).await
    }

    /// Returns the report on the management cluster.
    pub(super) fn report(&self) -> Option<Value> {
        self.report_of("edge.pull")
    }

    /// Returns the report `name` on the management cluster.
    pub(super) fn report_of(&self, name: &str) -> Option<Value> {
        let path =
            format!("/apis/image-swap.io/v1alpha1/namespaces/{CLUSTERS}/workloadclusters/{name}");
        block_in_place(|| self.planes.hub.get(&path).unwrap())
    }

    /// Changes an object by a merge patch.
    pub(super) fn patch(plane: &ControlPlane, path: &str, change: &Value) {
        let ran = block_in_place(|| plane.request("PATCH", path, Some(change)).unwrap());
        assert!(ran.status < 300, "{path}: {}", ran.body);
    }
}

fn release() -> Release {
    Release { namespace: RELEASE.into(), name: RELEASE.into() }
}

fn fleet_settings() -> FleetSettings {
    FleetSettings {
        bootstrap: None,
        namespace: FLEET.into(),
        release: release(),
        workload: release(),
        sources: SourceSettings {
            namespaces: BTreeSet::from([CLUSTERS.into()]),
            selector: "".parse().unwrap(),
            sources: BTreeSet::from([ClusterSource::Kubeconfig, ClusterSource::Pull]),
            providers: Vec::new(),
            search_interval: Duration::from_mins(1),
        },
        canary: None,
        wave_size: 0,
        has_cluster_metrics: false,
        timing: FleetTiming { longest_pause: Duration::from_secs(2), ..FleetTiming::default() },
    }
}

/// Returns a client with `token`.
async fn by_token(plane: &ControlPlane, files: &RunDir, token: &str) -> Client {
    let file = files.path().join("kubeconfig");
    fs::write(&file, plane.token_to_kubeconfig(token)).unwrap();
    client(Some(&file)).await.unwrap()
}

/// Returns the value of a key of a Secret as text.
pub(super) fn text(secret: &Value, key: &str) -> String {
    let encoded = secret["data"][key].as_str().unwrap_or_default();
    String::from_utf8(image_swap_text::base64::decode(encoded).unwrap_or_default()).unwrap()
}

/// Returns the objects of the fleet on the management cluster.
fn render() -> String {
    let mut command = Command::new(&parts().helm().unwrap().helm4);
    command.arg("template").arg(RELEASE).arg(chart()).args([
        "--namespace=image-swap",
        "--set=fleet.enabled=true,fleet.namespaces={clusters},image.registry=harbor.example.org",
    ]);
    command.args(TEMPLATES.map(|name| format!("--show-only=templates/fleet/{name}.yaml")));
    let output = block_in_place(|| command.output()).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rendered = String::from_utf8(output.stdout).unwrap();
    // The namespace comes before the objects in it.
    let documents = rendered.split("\n---\n");
    let (first, rest): (Vec<&str>, Vec<&str>) =
        documents.partition(|it| it.contains("kind: Namespace\n") && !it.contains("bundle.yaml"));
    [first, rest].concat().join("\n---\n")
}

/// Applies a manifest as an administrator does.
pub(super) fn apply(plane: &ControlPlane, manifest: &str) {
    let mut kubectl = plane.kubectl();
    kubectl.args(["apply", "--server-side", "--force-conflicts", "--filename=-"]);
    kubectl.arg("--field-manager=image-swap-fleet");
    let mut child =
        kubectl.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(manifest.as_bytes()).unwrap();
    let output = block_in_place(|| child.wait_with_output()).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
