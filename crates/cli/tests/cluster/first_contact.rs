//! Installation and uninstallation of the chart by both major versions of Helm: the objects when
//! Helm returns, and after an uninstallation.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use image_swap_cluster::{Controller, ReadinessLimits, Settings};
use image_swap_core::{
    control::policy::FailurePolicy, control::policy::RequestedPolicy, status::ProbeStatus,
};
use image_swap_testbed::{HelmError, HelmMajor, HelmRelease, HelmWait, Live, Options};
use serde_json::{Value, json};
use tokio::{task::block_in_place, time::Instant};

use crate::{
    install::{Account, Installed},
    stream::Stream,
    test_cluster::{
        ANCHORS, JET_SECRETS, NAMESPACE, NAMESPACES, REGISTRATIONS, Running, TestCluster,
        controller_by, eventually, intervals, keys, now, parts, pod, settings, until,
    },
};

const JET_SYSTEM: &str = "/api/v1/namespaces/jet-system";
const REGISTRY: &str = "h.example.org/";
/// Values with an image that no registry has.
const NO_IMAGE: &str = "image: {registry: nowhere.example.org}";

fn chart() -> PathBuf {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/image-swap");
    chart.canonicalize().unwrap()
}

fn helm(cluster: &TestCluster, major: HelmMajor) -> Live {
    Live::new(parts().helm().unwrap(), major, cluster.control_plane.kubeconfig()).unwrap()
}

/// Installs a release without agents, since no controller here ends their namespaces.
fn install(helm: &Live, namespace: &str, release: &str, values: &[&str]) -> Result<(), HelmError> {
    let wait = HelmWait::Hooks;
    let values = &[&["agent: {enabled: false}"], values].concat();
    let installed =
        block_in_place(|| helm.upgrade_install(namespace, release, &chart(), values, wait));
    installed.map(drop)
}

fn uninstall(helm: &Live, namespace: &str, release: &str) {
    block_in_place(|| helm.uninstall(namespace, release, HelmWait::Hooks)).unwrap();
}

fn uid(cluster: &TestCluster, path: &str) -> Value {
    cluster.get(path).unwrap()["metadata"]["uid"].clone()
}

/// Creates the Secret directly after the installation. No pod of the release ever runs.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn namespace_of_the_secret_outlives_releases() {
    for major in HelmMajor::ALL {
        let cluster = TestCluster::bare(&Options::default()).await;
        let helm = helm(&cluster, major);
        let labels = "registryInfoNamespace: {labels: {team: platform}}";
        install(&helm, NAMESPACE, "image-swap", &[labels]).unwrap();
        assert_eq!(cluster.get(JET_SYSTEM).unwrap()["metadata"]["labels"]["team"], "platform");
        cluster.declare(JET_SECRETS, "registry-info", &keys("h.example.org"));
        let secret = format!("{JET_SECRETS}/registry-info");
        let before = [uid(&cluster, JET_SYSTEM), uid(&cluster, &secret)];

        // The same command runs again with other values, and for a second release. Then both are
        // uninstalled.
        install(&helm, NAMESPACE, "image-swap", &["policy: ignore"]).unwrap();
        install(&helm, "apps", "other", &[labels]).unwrap();
        block_in_place(|| helm.rollback(NAMESPACE, "image-swap", Some(1), HelmWait::Hooks))
            .unwrap();
        uninstall(&helm, NAMESPACE, "image-swap");
        uninstall(&helm, "apps", "other");
        install(&helm, NAMESPACE, "image-swap", &[]).unwrap();
        assert_eq!([uid(&cluster, JET_SYSTEM), uid(&cluster, &secret)], before, "{major}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn namespace_of_another_program_stays_as_it_is() {
    for major in HelmMajor::ALL {
        let cluster = TestCluster::bare(&Options::default()).await;
        cluster.control_plane.create_namespace("jet-system").unwrap();
        let before = cluster.get(JET_SYSTEM).unwrap();
        let helm = helm(&cluster, major);
        let labels = "registryInfoNamespace: {labels: {team: platform}}";
        install(&helm, NAMESPACE, "image-swap", &[labels]).unwrap();
        install(&helm, NAMESPACE, "image-swap", &[labels]).unwrap();
        assert_eq!(cluster.get(JET_SYSTEM).unwrap()["metadata"], before["metadata"], "{major}");

        // A release may be in the namespace of the Secret.
        install(&helm, "jet-system", "inside-image-swap", &[]).unwrap();
        uninstall(&helm, "jet-system", "inside-image-swap");
        assert_eq!(uid(&cluster, JET_SYSTEM), before["metadata"]["uid"], "{major}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn policy_on_namespaces_is_met_by_a_value() {
    let cluster = TestCluster::bare(&Options::default()).await;
    cluster.demand_label("team", "the label team is missing").await;
    for major in HelmMajor::ALL {
        let helm = helm(&cluster, major);
        let refused = install(&helm, NAMESPACE, "image-swap", &[]).unwrap_err().to_string();
        assert!(refused.contains("the label team is missing"), "{major}: {refused}");
        assert!(refused.contains("jet-system"), "{major}: {refused}");
        let labels = "registryInfoNamespace: {labels: {team: platform}}";
        install(&helm, NAMESPACE, "image-swap", &[labels]).unwrap();
        assert!(cluster.get(JET_SYSTEM).is_some(), "{major}");
        uninstall(&helm, NAMESPACE, "image-swap");
        cluster.request("DELETE", JET_SYSTEM, None);
        // No controller here finalizes a namespace.
        let mut left = cluster.get(JET_SYSTEM).unwrap();
        left["spec"]["finalizers"] = json!([]);
        cluster.request("PUT", &format!("{JET_SYSTEM}/finalize"), Some(&left));
        // If another program creates the namespace, the chart need not do it.
        install(&helm, NAMESPACE, "image-swap", &["registryInfoNamespace: {create: false}"])
            .unwrap();
        assert!(cluster.get(JET_SYSTEM).is_none(), "{major}");
        uninstall(&helm, NAMESPACE, "image-swap");
    }
}

/// No pod of the release runs here, as with an image that cannot be pulled.
// guarantee: 4d
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn release_without_running_pods_is_reinstalled() {
    let cluster = TestCluster::bare(&Options::default()).await;
    for major in HelmMajor::ALL {
        let helm = helm(&cluster, major);
        install(&helm, NAMESPACE, "image-swap", &[NO_IMAGE]).unwrap();
        // A controller whose image cannot be pulled any more left this registration.
        let registration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
            "metadata": { "name": "image-swap-admission" },
            "webhooks": [{
                "name": "pods.image-swap.io", "admissionReviewVersions": ["v1"],
                "clientConfig": {
                    "service": { "namespace": NAMESPACE, "name": "image-swap-admission" },
                },
                "failurePolicy": "Fail", "sideEffects": "None",
                "rules": [{
                    "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                    "resources": ["pods"],
                }],
            }],
        });
        cluster.request("POST", REGISTRATIONS, Some(&registration));
        let begun = Instant::now();
        uninstall(&helm, NAMESPACE, "image-swap");
        assert!(begun.elapsed() < Duration::from_mins(1), "{major}");
        assert!(cluster.registration().is_none(), "{major}");
        assert!(cluster.get(&format!("{ANCHORS}/image-swap")).is_none(), "{major}");
        let mark = format!("{NAMESPACES}/{NAMESPACE}/configmaps/image-swap-uninstall");
        assert!(cluster.get(&mark).is_none(), "{major}");
        install(&helm, NAMESPACE, "image-swap", &[NO_IMAGE]).unwrap();
        uninstall(&helm, NAMESPACE, "image-swap");
    }
}

/// A release that Helm installed, with a controller and a replica that swap pods.
struct Serving {
    controller: Running,
    _replica: (std::sync::Arc<crate::replica::Replica>, image_swap_cluster::ReplicaTasks),
    installed: Installed,
}

impl Serving {
    async fn start(major: HelmMajor) -> Self {
        // No kubelet runs the Job that waits for the nodes.
        let installed = Installed::by(major, "agent: {awaitRestore: false}\n").await;
        let cluster = &installed.cluster;
        let as_controller = installed.client_as(Account::Controller).await;
        let as_admission = installed.client_as(Account::Admission).await;
        let replica = cluster.replica_by(&as_admission).await;
        cluster.serve_at(replica.0.port());
        cluster.declare(JET_SECRETS, "registry-info", &keys("h.example.org"));
        let settings = Settings { chart_secret: None, ..settings() };
        let mut controller = controller_by(&as_controller, settings, "one", intervals(), now);
        until(&mut controller.report, |it| it.policy.failure_policy == Some(FailurePolicy::Fail))
            .await;
        until(&mut replica.0.served(), |it| it.as_ref().is_some_and(|it| !it.hash.is_empty()))
            .await;
        Self { controller, _replica: replica, installed }
    }
}

/// The controller and the replica continue for a moment after Helm returned.
// guarantee: 4d
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn uninstallation_refuses_no_pod_and_stays() {
    for major in HelmMajor::ALL {
        let serving = Serving::start(major).await;
        let cluster = &serving.installed.cluster;
        let helm = helm(cluster, major);
        let mut stream = Stream::begin(&cluster.client, REGISTRY);
        stream.more().await;
        uninstall(&helm, NAMESPACE, "image-swap");
        assert!(cluster.registration().is_none(), "{major}");
        let swapped = stream.end().await;
        assert_eq!(swapped.refused, [""; 0], "{major}");
        assert!(swapped.swapped > 0 && swapped.wrong.iter().all(|image| image == "nginx"));

        // The registration is deleted before the Service, and not created again.
        let log = serving.installed.audit_log();
        let of = |verb: &str, resource: &str, code: u32| -> Vec<String> {
            let is_of = |line: &Value| {
                line["verb"] == verb
                    && line["objectRef"]["resource"] == resource
                    && line["objectRef"]["name"] == "image-swap-admission"
                    && line["responseStatus"]["code"] == code
            };
            let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.filter(is_of).map(|line| line["requestReceivedTimestamp"].to_string()).collect()
        };
        let registrations = of("delete", "mutatingwebhookconfigurations", 200);
        let services = of("delete", "services", 200);
        assert!(!registrations.is_empty() && services.len() == 1, "{registrations:?} {services:?}");
        assert!(registrations.iter().all(|at| *at < services[0]), "{major}: {services:?}");
        println!("{major}: registration {registrations:?}, Service {services:?}");
        // Helm 4 creates its hook by a patch.
        let made = log.lines().filter(|line| {
            line.contains(&Account::Controller.user())
                && line.contains("mutatingwebhookconfigurations/image-swap-admission")
                && line.contains("\"code\":201")
        });
        assert_eq!(made.count(), 1, "{major}");
        assert!(cluster.registration().is_none(), "{major}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn applied_templates_keep_the_registration() {
    let cluster = TestCluster::bare(&Options::default()).await;
    let rendered = rendered(&helm(&cluster, HelmMajor::Four));
    apply(&cluster, &rendered);
    let mut controller = cluster.controller(settings(), "one");
    let (replica, _following) = cluster.replica().await;
    cluster.serve_at(replica.port());
    cluster.declare(JET_SECRETS, "registry-info", &keys("h.example.org"));
    until(&mut controller.report, |it| it.policy.failure_policy == Some(FailurePolicy::Fail)).await;
    until(&mut replica.served(), |it| it.as_ref().is_some_and(|it| !it.hash.is_empty())).await;
    let mut stream = Stream::begin(&cluster.client, REGISTRY);
    stream.more().await;
    let before = cluster.registration().unwrap();
    apply(&cluster, &rendered);
    stream.more().await;
    let after = cluster.registration().unwrap();
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(after["webhooks"], before["webhooks"]);
    stream.end().await.assert_flawless();

    // The marks of hooks stay forever. A deletion by hand is repaired at once.
    let path = format!("{REGISTRATIONS}/image-swap-admission");
    cluster.request("DELETE", &path, None);
    eventually(|| cluster.get(&path).filter(|it| it["webhooks"].is_array())).await;
    let pods = "/api/v1/namespaces/apps/pods?dryRun=All";
    let image = |pod: &Value| pod["spec"]["containers"][0]["image"].to_string();
    let swapped = |pod: &Value| image(pod).contains(REGISTRY);
    eventually(|| cluster.control_plane.create(pods, &pod()).ok().filter(swapped)).await;
}

/// Returns the chart's objects, hooks included, as `helm template` prints them.
fn rendered(helm: &Live) -> String {
    let chart = chart();
    let release =
        HelmRelease { chart: &chart, name: "image-swap", namespace: NAMESPACE, values: &[] };
    let manifests = block_in_place(|| helm.helm().template(&release)).unwrap();
    manifests.iter().map(|it| format!("---\n{}\n", it.text)).collect()
}

fn apply(cluster: &TestCluster, manifests: &str) {
    block_in_place(|| {
        let mut kubectl = cluster.control_plane.kubectl();
        let kubectl = kubectl.args(["apply", "--filename=-"]).stdin(Stdio::piped());
        let mut child = kubectl.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(manifests.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    });
}

/// Without the Service the controller does not register again.
// guarantee: 4d
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn registration_stays_away_without_a_service() {
    let serving = Serving::start(HelmMajor::Four).await;
    let cluster = &serving.installed.cluster;
    let service = format!("{NAMESPACES}/{NAMESPACE}/services/image-swap-admission");
    cluster.request("DELETE", &service, None);
    cluster.request("DELETE", &format!("{REGISTRATIONS}/image-swap-admission"), None);
    let mut report = serving.controller.report.clone();
    until(&mut report, |it| !it.policy.registered).await;
    assert!(cluster.registration().is_none());
    // The Service exists again.
    cluster.make_service();
    eventually(|| cluster.registration()).await;
}

fn limits() -> ReadinessLimits {
    ReadinessLimits {
        period: Duration::from_millis(50),
        settle: Duration::from_mins(5),
        unreached: Duration::from_mins(5),
        total: Duration::from_mins(5),
    }
}

/// Waits like a controller that does not lead.
async fn in_force(client: &kube::Client, settings: &Settings, limits: ReadinessLimits) {
    let waiting = Controller::new(client, settings.clone(), "waiting", intervals());
    waiting.in_force(limits).await;
}

/// Two controllers run, and one of them leads.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn controllers_are_ready_once_pods_are_swapped() {
    let cluster = TestCluster::set().await;
    let wait = |limits| {
        let (client, settings) = (cluster.client.clone(), settings());
        tokio::spawn(async move { in_force(&client, &settings, limits).await })
    };
    // Nothing is registered, so that the limit of the wait counts.
    let limited = ReadinessLimits { unreached: Duration::ZERO, ..limits() };
    wait(limited).await.unwrap();
    let waiting = wait(limits());
    let mut controller = cluster.controller(settings(), "one");
    until(&mut controller.report, |it| it.policy.probe == ProbeStatus::NoEndpoints).await;
    let (replica, _following) = cluster.replica().await;
    assert!(!waiting.is_finished(), "no replica is reached");
    cluster.serve_at(replica.port());
    waiting.await.unwrap();
    let held =
        |entry: &Value| entry["name"] == "pods.image-swap.io" && entry["failurePolicy"] == "Fail";
    let registration = cluster.registration().unwrap();
    assert!(registration["webhooks"].as_array().unwrap().iter().any(held));
    // A controller that starts later, or does not lead, is ready too.
    wait(limits()).await.unwrap();

    // No replica responds, so that the other limit counts.
    replica.stop();
    let limited = ReadinessLimits { total: Duration::ZERO, ..limits() };
    wait(limited).await.unwrap();
}

/// Beside another program that swaps images, the wanted policy is never reached.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn readiness_waits_for_a_policy_within_limits() {
    let cluster = TestCluster::set().await;
    let ignoring = Settings { policy: RequestedPolicy::Ignore, ..settings() };
    let mut controller = cluster.controller(ignoring.clone(), "one");
    let (replica, _following) = cluster.replica().await;
    cluster.serve_at(replica.port());
    until(&mut controller.report, |it| it.policy.probe == ProbeStatus::Reached).await;
    in_force(&cluster.client, &ignoring, limits()).await;
    // The registration has `Ignore`, and this controller wants `Fail`.
    let settled = ReadinessLimits { settle: Duration::ZERO, ..limits() };
    in_force(&cluster.client, &settings(), settled).await;
    // A leaving release has nothing to register.
    let anchor = format!("{ANCHORS}/image-swap");
    let mark = json!({ "metadata": { "annotations": { "image-swap.io/leaving": "true" } } });
    cluster.request("PATCH", &anchor, Some(&mark));
    eventually(|| cluster.registration().is_none().then_some(())).await;
    in_force(&cluster.client, &settings(), limits()).await;
}
