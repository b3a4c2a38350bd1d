//! The chart by both majors of Helm: what is there when Helm returns, and what an
//! uninstallation does.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use image_swap_cluster::{Controller, ReadinessLimits, Settings};
use image_swap_core::{cluster::policy::Policy, cluster::policy::Wanted, status::ProbeStatus};
use image_swap_testbed::{HelmError, HelmMajor, HelmRelease, HelmWait, Live, Options};
use serde_json::{Value, json};
use tokio::{task::block_in_place, time::Instant};

use crate::{
    install::{Account, Installed},
    stage::{
        ANCHORS, JET_SECRETS, NAMESPACE, NAMESPACES, REGISTRATIONS, Running, Stage, controller_by,
        eventually, intervals, keys, now, parts, pod, settings, until,
    },
    stream::Stream,
};

const JET_SYSTEM: &str = "/api/v1/namespaces/jet-system";
const REGISTRY: &str = "h.example.org/";
/// Values whose image no registry has.
const NO_IMAGE: &str = "image: {registry: nowhere.example.org}";

fn chart() -> PathBuf {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/image-swap");
    chart.canonicalize().unwrap()
}

fn helm(stage: &Stage, major: HelmMajor) -> Live {
    Live::new(parts().helm().unwrap(), major, stage.control_plane.kubeconfig()).unwrap()
}

fn install(helm: &Live, namespace: &str, release: &str, values: &[&str]) -> Result<(), HelmError> {
    let wait = HelmWait::Hooks;
    let installed =
        block_in_place(|| helm.upgrade_install(namespace, release, &chart(), values, wait));
    installed.map(drop)
}

fn uninstall(helm: &Live, namespace: &str, release: &str) {
    block_in_place(|| helm.uninstall(namespace, release, HelmWait::Hooks)).unwrap();
}

fn uid(stage: &Stage, path: &str) -> Value {
    stage.get(path).unwrap()["metadata"]["uid"].clone()
}

/// Installs, and creates the Secret at once. No pod of the release ever runs.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn namespace_of_the_secret_outlives_releases() {
    for major in HelmMajor::ALL {
        let stage = Stage::bare(&Options::default()).await;
        let helm = helm(&stage, major);
        let labels = "registryInfoNamespace: {labels: {team: platform}}";
        install(&helm, NAMESPACE, "image-swap", &[labels]).unwrap();
        assert_eq!(stage.get(JET_SYSTEM).unwrap()["metadata"]["labels"]["team"], "platform");
        stage.declare(JET_SECRETS, "registry-info", &keys("h.example.org"));
        let secret = format!("{JET_SECRETS}/registry-info");
        let before = [uid(&stage, JET_SYSTEM), uid(&stage, &secret)];

        // The same command again, with other values; a second release; both are removed.
        install(&helm, NAMESPACE, "image-swap", &["policy: ignore"]).unwrap();
        install(&helm, "apps", "other", &[labels]).unwrap();
        block_in_place(|| helm.rollback(NAMESPACE, "image-swap", Some(1), HelmWait::Hooks))
            .unwrap();
        uninstall(&helm, NAMESPACE, "image-swap");
        uninstall(&helm, "apps", "other");
        install(&helm, NAMESPACE, "image-swap", &[]).unwrap();
        assert_eq!([uid(&stage, JET_SYSTEM), uid(&stage, &secret)], before, "{major}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn namespace_of_another_program_stays_as_it_is() {
    for major in HelmMajor::ALL {
        let stage = Stage::bare(&Options::default()).await;
        stage.control_plane.create_namespace("jet-system").unwrap();
        let before = stage.get(JET_SYSTEM).unwrap();
        let helm = helm(&stage, major);
        let labels = "registryInfoNamespace: {labels: {team: platform}}";
        install(&helm, NAMESPACE, "image-swap", &[labels]).unwrap();
        install(&helm, NAMESPACE, "image-swap", &[labels]).unwrap();
        assert_eq!(stage.get(JET_SYSTEM).unwrap()["metadata"], before["metadata"], "{major}");

        // The release may be in it.
        install(&helm, "jet-system", "inside-image-swap", &[]).unwrap();
        uninstall(&helm, "jet-system", "inside-image-swap");
        assert_eq!(uid(&stage, JET_SYSTEM), before["metadata"]["uid"], "{major}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn policy_on_namespaces_is_met_by_a_value() {
    let stage = Stage::bare(&Options::default()).await;
    stage.demand_label("team", "the label team is missing").await;
    for major in HelmMajor::ALL {
        let helm = helm(&stage, major);
        let refused = install(&helm, NAMESPACE, "image-swap", &[]).unwrap_err().to_string();
        assert!(refused.contains("the label team is missing"), "{major}: {refused}");
        assert!(refused.contains("jet-system"), "{major}: {refused}");
        let labels = "registryInfoNamespace: {labels: {team: platform}}";
        install(&helm, NAMESPACE, "image-swap", &[labels]).unwrap();
        assert!(stage.get(JET_SYSTEM).is_some(), "{major}");
        uninstall(&helm, NAMESPACE, "image-swap");
        stage.request("DELETE", JET_SYSTEM, None);
        // Nothing finalises a namespace here.
        let mut left = stage.get(JET_SYSTEM).unwrap();
        left["spec"]["finalizers"] = json!([]);
        stage.request("PUT", &format!("{JET_SYSTEM}/finalize"), Some(&left));
        // Where another program makes the namespace, the chart does not have to.
        install(&helm, NAMESPACE, "image-swap", &["registryInfoNamespace: {create: false}"])
            .unwrap();
        assert!(stage.get(JET_SYSTEM).is_none(), "{major}");
        uninstall(&helm, NAMESPACE, "image-swap");
    }
}

/// No pod of the release runs here, as with an image that cannot be pulled.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn release_without_running_pods_is_uninstalled_and_installed_again() {
    let stage = Stage::bare(&Options::default()).await;
    for major in HelmMajor::ALL {
        let helm = helm(&stage, major);
        install(&helm, NAMESPACE, "image-swap", &[NO_IMAGE]).unwrap();
        // As a controller left it that can be pulled no more.
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
        stage.request("POST", REGISTRATIONS, Some(&registration));
        let begun = Instant::now();
        uninstall(&helm, NAMESPACE, "image-swap");
        assert!(begun.elapsed() < Duration::from_mins(1), "{major}");
        assert!(stage.registration().is_none(), "{major}");
        assert!(stage.get(&format!("{ANCHORS}/image-swap")).is_none(), "{major}");
        let mark = format!("{NAMESPACES}/{NAMESPACE}/configmaps/image-swap-uninstall");
        assert!(stage.get(&mark).is_none(), "{major}");
        install(&helm, NAMESPACE, "image-swap", &[NO_IMAGE]).unwrap();
        uninstall(&helm, NAMESPACE, "image-swap");
    }
}

/// A release that Helm installed, with a controller and a replica that swap pods.
struct Serving {
    controller: Running,
    _replica: (std::sync::Arc<crate::replica::Replica>, image_swap_cluster::Following),
    installed: Installed,
}

impl Serving {
    async fn start(major: HelmMajor) -> Self {
        let installed = Installed::by(major, "").await;
        let stage = &installed.stage;
        let as_controller = installed.client_as(Account::Controller).await;
        let as_admission = installed.client_as(Account::Admission).await;
        let replica = stage.replica_by(&as_admission).await;
        stage.serve_at(replica.0.port());
        stage.declare(JET_SECRETS, "registry-info", &keys("h.example.org"));
        let settings = Settings { chart_secret: None, ..settings() };
        let mut controller = controller_by(&as_controller, settings, "one", intervals(), now);
        until(&mut controller.report, |it| it.policy.failure_policy == Some(Policy::Fail)).await;
        until(&mut replica.0.served(), |it| it.as_ref().is_some_and(|it| !it.hash.is_empty()))
            .await;
        Self { controller, _replica: replica, installed }
    }
}

/// The controller and the replica go on, as they do for a moment after Helm returned.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn uninstallation_refuses_no_pod_and_stays() {
    for major in HelmMajor::ALL {
        let serving = Serving::start(major).await;
        let stage = &serving.installed.stage;
        let helm = helm(stage, major);
        let mut stream = Stream::begin(&stage.client, REGISTRY);
        stream.more().await;
        uninstall(&helm, NAMESPACE, "image-swap");
        assert!(stage.registration().is_none(), "{major}");
        let swapped = stream.end().await;
        assert_eq!(swapped.refused, [""; 0], "{major}");
        assert!(swapped.swapped > 0 && swapped.wrong.iter().all(|image| image == "nginx"));

        // The registration is deleted before the Service, and not made again.
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
        // Helm 4 creates its hook by a patch, too.
        let made = log.lines().filter(|line| {
            line.contains(&Account::Controller.user())
                && line.contains("mutatingwebhookconfigurations/image-swap-admission")
                && line.contains("\"code\":201")
        });
        assert_eq!(made.count(), 1, "{major}");
        assert!(stage.registration().is_none(), "{major}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn applied_templates_leave_the_registration_alone() {
    let stage = Stage::bare(&Options::default()).await;
    let rendered = rendered(&helm(&stage, HelmMajor::Four));
    apply(&stage, &rendered);
    let mut controller = stage.controller(settings(), "one");
    let (replica, _following) = stage.replica().await;
    stage.serve_at(replica.port());
    stage.declare(JET_SECRETS, "registry-info", &keys("h.example.org"));
    until(&mut controller.report, |it| it.policy.failure_policy == Some(Policy::Fail)).await;
    until(&mut replica.served(), |it| it.as_ref().is_some_and(|it| !it.hash.is_empty())).await;
    let mut stream = Stream::begin(&stage.client, REGISTRY);
    stream.more().await;
    let before = stage.registration().unwrap();
    apply(&stage, &rendered);
    stream.more().await;
    let after = stage.registration().unwrap();
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(after["webhooks"], before["webhooks"]);
    stream.end().await.assert_flawless();

    // The marks of hooks are there for ever. A deletion by hand is repaired at once.
    let path = format!("{REGISTRATIONS}/image-swap-admission");
    stage.request("DELETE", &path, None);
    eventually(|| stage.get(&path).filter(|it| it["webhooks"].is_array())).await;
    let pods = "/api/v1/namespaces/apps/pods?dryRun=All";
    let image = |pod: &Value| pod["spec"]["containers"][0]["image"].to_string();
    let swapped = |pod: &Value| image(pod).contains(REGISTRY);
    eventually(|| stage.control_plane.create(pods, &pod()).ok().filter(swapped)).await;
}

/// Returns the chart's objects, hooks included, as `helm template` prints them.
fn rendered(helm: &Live) -> String {
    let chart = chart();
    let release =
        HelmRelease { chart: &chart, name: "image-swap", namespace: NAMESPACE, values: &[] };
    let manifests = block_in_place(|| helm.helm().template(&release)).unwrap();
    manifests.iter().map(|it| format!("---\n{}\n", it.text)).collect()
}

fn apply(stage: &Stage, manifests: &str) {
    block_in_place(|| {
        let mut kubectl = stage.control_plane.kubectl();
        let kubectl = kubectl.args(["apply", "--filename=-"]).stdin(Stdio::piped());
        let mut child = kubectl.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(manifests.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    });
}

/// The Service without a controller's pod: nothing registers again.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn registration_stays_away_without_a_service() {
    let serving = Serving::start(HelmMajor::Four).await;
    let stage = &serving.installed.stage;
    let service = format!("{NAMESPACES}/{NAMESPACE}/services/image-swap-admission");
    stage.request("DELETE", &service, None);
    stage.request("DELETE", &format!("{REGISTRATIONS}/image-swap-admission"), None);
    let mut report = serving.controller.report.clone();
    until(&mut report, |it| !it.policy.registered).await;
    assert!(stage.registration().is_none());
    // The Service is back.
    stage.make_service();
    eventually(|| stage.registration()).await;
}

fn limits() -> ReadinessLimits {
    ReadinessLimits {
        period: Duration::from_millis(50),
        settle: Duration::from_mins(5),
        unreached: Duration::from_mins(5),
        total: Duration::from_mins(5),
    }
}

/// Waits as a controller does that does not lead.
async fn in_force(client: &kube::Client, settings: &Settings, limits: ReadinessLimits) {
    let waiting = Controller::new(client, settings.clone(), "waiting", intervals());
    waiting.in_force(limits).await;
}

/// Two controllers, of which one leads.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn controllers_are_ready_once_pods_are_swapped() {
    let stage = Stage::set().await;
    let wait = |limits| {
        let (client, settings) = (stage.client.clone(), settings());
        tokio::spawn(async move { in_force(&client, &settings, limits).await })
    };
    // Nothing is registered: the limit counts.
    let limited = ReadinessLimits { unreached: Duration::ZERO, ..limits() };
    wait(limited).await.unwrap();
    let waiting = wait(limits());
    let mut controller = stage.controller(settings(), "one");
    until(&mut controller.report, |it| it.policy.probe == ProbeStatus::NoEndpoints).await;
    let (replica, _following) = stage.replica().await;
    assert!(!waiting.is_finished(), "no replica is reached");
    stage.serve_at(replica.port());
    waiting.await.unwrap();
    let held =
        |entry: &Value| entry["name"] == "pods.image-swap.io" && entry["failurePolicy"] == "Fail";
    let registration = stage.registration().unwrap();
    assert!(registration["webhooks"].as_array().unwrap().iter().any(held));
    // A controller that starts later, or does not lead, sees the same.
    wait(limits()).await.unwrap();

    // No replica answers any more: the other limit counts.
    replica.stop();
    let limited = ReadinessLimits { total: Duration::ZERO, ..limits() };
    wait(limited).await.unwrap();
}

/// Beside another program that swaps images the wanted policy never comes.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn readiness_does_not_wait_for_a_policy_without_end() {
    let stage = Stage::set().await;
    let ignoring = Settings { policy: Wanted::Ignore, ..settings() };
    let mut controller = stage.controller(ignoring.clone(), "one");
    let (replica, _following) = stage.replica().await;
    stage.serve_at(replica.port());
    until(&mut controller.report, |it| it.policy.probe == ProbeStatus::Reached).await;
    in_force(&stage.client, &ignoring, limits()).await;
    // The registration has `Ignore`, and this controller wants `Fail`.
    let settled = ReadinessLimits { settle: Duration::ZERO, ..limits() };
    in_force(&stage.client, &settings(), settled).await;
    // A release that leaves has nothing to register.
    let anchor = format!("{ANCHORS}/image-swap");
    let mark = json!({ "metadata": { "annotations": { "image-swap.io/leaving": "true" } } });
    stage.request("PATCH", &anchor, Some(&mark));
    eventually(|| stage.registration().is_none().then_some(())).await;
    in_force(&stage.client, &settings(), limits()).await;
}
