//! A test cluster with the objects of the chart, and the controllers and replicas that run in it.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hyper::Request;
use image_swap_cluster::{
    Controller, ControllerMetrics, Intervals, LeaderElection, Leadership, LeaseTiming, Release,
    ReplicaTasks, Settings, client, follow,
};
use image_swap_core::{
    control::policy::RequestedPolicy, declaration::UnixTime, status::ControllerReport,
};
use image_swap_testbed::{ControlPlane, Options, Parts};
use kube::Client;
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle};

use crate::replica::Replica;

/// Returns the parts for tests, which must be present.
pub(crate) fn parts() -> &'static Parts {
    static PARTS: LazyLock<Parts> = LazyLock::new(|| Parts::present().unwrap());
    &PARTS
}

pub(crate) const NAMESPACE: &str = "image-swap-system";
pub(crate) const SECRETS: &str = "/api/v1/namespaces/image-swap-system/secrets";
pub(crate) const JET_SECRETS: &str = "/api/v1/namespaces/jet-system/secrets";
pub(crate) const REGISTRATIONS: &str =
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
pub(crate) const POLICIES: &str =
    "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
pub(crate) const BINDINGS: &str =
    "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";
pub(crate) const NAMESPACES: &str = "/api/v1/namespaces";
pub(crate) const NODE_MIRRORS: &str = "/apis/image-swap.io/v1alpha1/nodemirrors";
pub(crate) const ANCHORS: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";

/// The deadline of a wait, long enough for a machine that compiles at the same time.
const PATIENCE: Duration = Duration::from_mins(2);

pub(crate) struct TestCluster {
    pub(crate) control_plane: ControlPlane,
    pub(crate) client: Client,
}

/// A controller that runs until it is dropped.
pub(crate) struct Running {
    pub(crate) report: watch::Receiver<ControllerReport>,
    pub(crate) metrics: ControllerMetrics,
    pub(crate) leadership: Leadership,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn release() -> Release {
    Release { namespace: NAMESPACE.into(), name: "image-swap".into() }
}

pub(crate) fn settings() -> Settings {
    Settings {
        release: release(),
        chart_secret: Some("image-swap-declaration".into()),
        service: "image-swap-admission".into(),
        service_port: 443,
        policy: RequestedPolicy::Fail,
        timeout_seconds: 5,
        system_namespaces: vec!["kube-system".into()],
        namespace_label: "k8s.twr.io/imageswap".into(),
        opt_in: false,
        template_namespaces: Vec::new(),
        pull_secrets: true,
        adopt: false,
        coexist: false,
        tls_existing_secret: None,
        registry_info_labels: BTreeMap::new(),
        agents: None,
        heartbeat: false,
        hub_secret: None,
        bundle_hash: None,
    }
}

/// Returns intervals that are short enough for tests.
pub(crate) fn intervals() -> Intervals {
    Intervals {
        look: Duration::from_secs(2),
        probe: Duration::from_millis(200),
        lower: Duration::from_secs(2),
        registry: Duration::from_mins(5),
        retry: Duration::from_millis(200),
        gap: Duration::from_millis(10),
        linger: Duration::from_secs(1),
        grace: Duration::from_secs(1),
        heartbeat: Duration::from_mins(1),
        heartbeat_gap: Duration::from_millis(10),
        census: Duration::from_millis(200),
        hub: Duration::from_secs(2),
        hub_retry: (Duration::from_millis(100), Duration::from_secs(1)),
    }
}

/// Returns the present time by the clock of this machine.
pub(crate) fn now() -> UnixTime {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

impl TestCluster {
    /// Starts a control plane with the release's anchor.
    pub(crate) async fn set() -> Self {
        Self::set_with(&Options::default()).await
    }

    /// Starts a control plane with the release's anchor and the servers of `options`.
    pub(crate) async fn set_with(options: &Options) -> Self {
        let cluster = Self::bare(options).await;
        let anchor = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": { "name": "image-swap", "annotations": { "image-swap.io/leaving": "false" } },
        });
        cluster.control_plane.create(ANCHORS, &anchor).unwrap();
        cluster
    }

    /// Starts a control plane with two namespaces and no object of the chart.
    pub(crate) async fn bare(options: &Options) -> Self {
        let control_plane =
            tokio::task::block_in_place(|| ControlPlane::start(parts(), options).unwrap());
        control_plane.create_namespace(NAMESPACE).unwrap();
        control_plane.create_namespace("apps").unwrap();
        let client = client(Some(control_plane.kubeconfig())).await.unwrap();
        Self { control_plane, client }
    }

    /// Starts a controller, which leads or waits for the leadership.
    pub(crate) fn controller(&self, settings: Settings, identity: &str) -> Running {
        controller_by(&self.client, settings, identity, intervals(), now)
    }

    /// Starts a controller that checks the registry in intervals of `registry`.
    pub(crate) fn controller_that_checks(&self, settings: Settings, registry: Duration) -> Running {
        let intervals = Intervals { registry, ..intervals() };
        controller_by(&self.client, settings, "one", intervals, now)
    }

    /// Starts a replica that follows the Secrets of the release.
    pub(crate) async fn replica(&self) -> (Arc<Replica>, ReplicaTasks) {
        self.replica_by(&self.client).await
    }

    /// Starts a replica that follows the Secrets with `client`.
    pub(crate) async fn replica_by(&self, client: &Client) -> (Arc<Replica>, ReplicaTasks) {
        self.replica_with(client, "image-swap-tls").await
    }

    /// Starts a replica that follows the certificate in the Secret `certificate`.
    pub(crate) async fn replica_with(
        &self,
        client: &Client,
        certificate: &str,
    ) -> (Arc<Replica>, ReplicaTasks) {
        let replica = Replica::start().await;
        let following = follow(client, &release(), certificate, &(replica.clone() as _));
        (replica, following)
    }

    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        tokio::task::block_in_place(|| self.control_plane.get(path).unwrap())
    }

    /// Sends `body` to `path` and returns the response, which must be a success.
    pub(crate) fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let answer =
            tokio::task::block_in_place(|| self.control_plane.request(method, path, body).unwrap());
        assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.body);
        serde_json::from_str(&answer.body).unwrap()
    }

    /// Makes the API server refuse namespaces without `label` with `message`, except that of the
    /// release. Returns when the API server enforces it.
    pub(crate) async fn demand_label(&self, label: &str, message: &str) {
        let policy = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": { "name": label },
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": { "resourceRules": [{
                    "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                    "resources": ["namespaces"],
                }] },
                "validations": [{
                    "expression": format!(
                        "object.metadata.name == '{NAMESPACE}' || \
                         has(object.metadata.labels) && '{label}' in object.metadata.labels"
                    ),
                    "message": message,
                }],
            },
        });
        self.request("POST", POLICIES, Some(&policy));
        let binding = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": { "name": label },
            "spec": { "policyName": label, "validationActions": ["Deny"] },
        });
        self.request("POST", BINDINGS, Some(&binding));
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "test" },
        });
        let path = format!("{NAMESPACES}?dryRun=All");
        let create = || self.control_plane.request("POST", &path, Some(&namespace)).unwrap();
        eventually(|| (tokio::task::block_in_place(create).status == 422).then_some(())).await;
    }

    /// Declares `keys` in the Secret `name`, and replaces its former content.
    pub(crate) fn declare(&self, secrets: &str, name: &str, keys: &BTreeMap<&str, String>) {
        let path = format!("{secrets}/{name}");
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": { "name": name }, "stringData": keys,
        });
        if self.get(&path).is_some() {
            self.request("PUT", &path, Some(&secret));
        } else {
            self.request("POST", secrets, Some(&secret));
        }
    }

    /// Deletes `pod` from the collection `pods` without a grace period.
    pub(crate) fn kill(&self, pods: &str, pod: &Value) {
        let name = pod["metadata"]["name"].as_str().unwrap();
        self.request("DELETE", &format!("{pods}/{name}?gracePeriodSeconds=0"), None);
    }

    pub(crate) fn registration(&self) -> Option<Value> {
        self.get(&format!("{REGISTRATIONS}/image-swap-admission"))
    }

    /// Creates the custom resource of the chart, and waits until the API server serves it.
    pub(crate) async fn define_node_mirrors(&self) {
        let template = fs::read_to_string(chart().join("templates/agent/crd.yaml")).unwrap();
        let request = Request::post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions")
            .header("content-type", "application/yaml")
            .body(without_actions(&template).into_bytes());
        self.client.request_text(request.unwrap()).await.unwrap();
        self.node_mirrors_served().await;
    }

    /// Waits until the API server serves the custom resource of the chart.
    pub(crate) async fn node_mirrors_served(&self) {
        let list = || self.control_plane.get(NODE_MIRRORS).ok().flatten();
        eventually(|| tokio::task::block_in_place(list)).await;
    }

    /// Returns the present events with `reason`.
    pub(crate) fn events(&self, namespace: &str, reason: &str) -> Vec<Value> {
        let list =
            self.get(&format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events")).unwrap();
        let items = list["items"].as_array().unwrap().iter();
        items.filter(|event| event["reason"] == reason).cloned().collect()
    }
}

/// Returns the directory of the chart.
pub(crate) fn chart() -> PathBuf {
    let chart = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../charts/image-swap");
    chart.canonicalize().unwrap()
}

/// Returns a template of the chart without the actions of Helm.
fn without_actions(template: &str) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        text.push_str(before);
        rest = after.split_once("}}").unwrap().1;
    }
    text + rest
}

/// Starts a controller that uses `client` and `clock`.
pub(crate) fn controller_by(
    client: &Client,
    settings: Settings,
    identity: &str,
    intervals: Intervals,
    clock: impl Fn() -> UnixTime + Send + Sync + 'static,
) -> Running {
    run(client, Controller::new(client, settings, identity, intervals).by_clock(clock), identity)
}

/// Runs `controller` as a candidate for the leadership.
pub(crate) fn run(client: &Client, controller: Controller, identity: &str) -> Running {
    let times =
        LeaseTiming { duration: Duration::from_secs(3), period: Duration::from_millis(500) };
    let mut election = LeaderElection::new(client, &release(), identity, times);
    let leadership = election.leadership();
    let (report, leads) = (controller.report(), leadership.clone());
    let metrics = ControllerMetrics::new(report.clone(), leadership.clone());
    let task = tokio::spawn(async move {
        tokio::join!(election.run(), controller.run(leadership));
    });
    Running { report, metrics, leadership: leads, task }
}

/// Waits until a value of `seen` satisfies `enough`, and returns it.
pub(crate) async fn until<T: Clone>(
    seen: &mut watch::Receiver<T>,
    enough: impl FnMut(&T) -> bool,
) -> T {
    let found = tokio::time::timeout(PATIENCE, seen.wait_for(enough)).await;
    found.unwrap().unwrap().clone()
}

/// Calls `look` repeatedly until it returns a value.
pub(crate) async fn eventually<T>(look: impl Fn() -> Option<T>) -> T {
    let started = std::time::Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "it should have come by now");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Returns a pod that no node runs.
pub(crate) fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "generateName": "p-" },
        "spec": {
            "automountServiceAccountToken": false,
            "containers": [{ "name": "main", "image": "nginx" }],
        },
    })
}

/// Returns the keys of Palette's Secret for a registry on `domain`.
pub(crate) fn keys(domain: &str) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("DOMAIN", domain.to_owned()),
        ("BASE_PATH", "airgap".to_owned()),
        ("USERNAME", "robot".to_owned()),
        ("PASSWORD", "s3cret-of-the-robot".to_owned()),
        ("INSECURE", "false".to_owned()),
        ("MIRROR_REGISTRIES", format!("docker.io::{domain}/airgap/docker.io")),
    ])
}
