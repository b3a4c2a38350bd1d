//! The rollout of a declaration to nodes. The test reports in place of agents and kubelets.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::{Response, StatusCode};
use image_swap_cluster::{AgentSettings, Controller, ReadinessLimits, Settings, status::status};
use image_swap_core::{
    admission::Mode,
    mirror::Fallback,
    status::{AgentsStatus, FailingStep, NodeDeclaration, ProbeStatus},
};
use image_swap_testbed::Options;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    registry::{Faulty, declared},
    test_cluster::{
        JET_SECRETS, NAMESPACE, NAMESPACES, NODE_MIRRORS, Running, SECRETS, TestCluster,
        eventually, intervals, pod, release, settings, until,
    },
};

pub(crate) const NODES: &str = "/api/v1/nodes";
const AGENTS: &str = "/api/v1/namespaces/image-swap-agent/pods";
const TRIALS: &str = "/api/v1/namespaces/image-swap-trial/pods";
const APPS: &str = "/api/v1/namespaces/apps/pods";
pub(crate) const STORED: &str = "/api/v1/namespaces/image-swap-system/secrets/image-swap-nodes";
/// Digest of the tag on the mirror.
pub(crate) const INDEX: &str =
    "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
/// Digest of the manifest of one platform, which the mirror serves, too.
const PLATFORM: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
/// Digest of an image that the mirror does not serve.
const OTHER: &str = "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc";

pub(crate) fn agents() -> AgentSettings {
    AgentSettings {
        namespace: "image-swap-agent".into(),
        trial_namespace: "image-swap-trial".into(),
        fallback: Fallback::Upstream,
        credentials: true,
        trial_image: None,
        deadline: Duration::from_secs(1),
        startup_taint: true,
        restart: None,
    }
}

pub(crate) fn with_agents() -> Settings {
    Settings { agents: Some(agents()), ..settings() }
}

/// Starts a cluster with the objects of the chart's agents.
pub(crate) async fn set() -> TestCluster {
    set_with(&Options::default()).await
}

/// Starts a cluster with the objects of the chart's agents, and the servers of `options`.
pub(crate) async fn set_with(options: &Options) -> TestCluster {
    let cluster = set_undefined(options).await;
    cluster.define_node_mirrors().await;
    cluster
}

/// Starts a cluster with the namespaces of the chart's agents alone.
async fn set_undefined(options: &Options) -> TestCluster {
    let cluster = TestCluster::set_with(options).await;
    for namespace in ["image-swap-agent", "image-swap-trial", "jet-system"] {
        cluster.control_plane.create_namespace(namespace).unwrap();
    }
    let labels = json!({ "pod-security.kubernetes.io/enforce": "restricted" });
    let labels = json!({ "metadata": { "labels": labels } });
    cluster.request("PATCH", &format!("{NAMESPACES}/image-swap-trial"), Some(&labels));
    cluster
}

/// Starts a mirror that serves the digests of `served`, by tag and by digest.
pub(crate) async fn mirror(served: &Arc<Mutex<BTreeSet<&'static str>>>) -> Faulty {
    let served = Arc::clone(served);
    Faulty::start(
        |params| params,
        move |request| {
            let mut reply = Response::default();
            let path = request.uri().path();
            if let Some((_, identifier)) = path.split_once("/manifests/") {
                let digest = if identifier == "1.36" { INDEX } else { identifier };
                if served.lock().unwrap().contains(digest) {
                    reply.headers_mut().insert("docker-content-digest", digest.parse().unwrap());
                } else {
                    *reply.status_mut() = StatusCode::NOT_FOUND;
                }
            }
            reply
        },
    )
    .await
}

/// Creates a Node as its kubelet does.
pub(crate) fn add_node(cluster: &TestCluster, name: &str, runtime: &str, more: &Value) {
    let mut node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name } });
    node["metadata"]["labels"] = more["labels"].clone();
    cluster.request("POST", NODES, Some(&node));
    let text = |key: &str, default: &str| more[key].as_str().unwrap_or(default).to_owned();
    let info = json!({
        "bootID": text("bootID", &format!("boot-of-{name}")), "containerRuntimeVersion": runtime,
        "kubeletVersion": "v1.37.2", "kubeProxyVersion": "", "machineID": "", "systemUUID": "",
        "kernelVersion": "6.1", "architecture": "amd64",
        "osImage": text("osImage", "Debian GNU/Linux 12"), "operatingSystem": text("os", "linux"),
    });
    let status = json!({ "status": { "nodeInfo": info } });
    cluster.request("PATCH", &format!("{NODES}/{name}/status"), Some(&status));
}

/// Runs the pod of an agent on the node `name`.
pub(crate) fn add_agent(cluster: &TestCluster, name: &str) {
    let mut agent = pod();
    agent["metadata"] = json!({
        "name": format!("agent-{name}"), "labels": { "app.kubernetes.io/component": "agent" },
    });
    agent["spec"]["nodeName"] = name.into();
    // No rule covers it, so it is no image for trials.
    agent["spec"]["containers"][0]["image"] = "quay.io/agents/image-swap:1".into();
    cluster.request("POST", AGENTS, Some(&agent));
    let status = json!({ "status": {
        "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }],
    } });
    cluster.request("PATCH", &format!("{AGENTS}/agent-{name}/status"), Some(&status));
}

pub(crate) fn stored(cluster: &TestCluster) -> Option<NodeDeclaration> {
    let secret = cluster.get(STORED)?;
    let data: BTreeMap<String, String> = serde_json::from_value(secret["data"].clone()).ok()?;
    let text = |text: String| String::from_utf8(STANDARD.decode(text).unwrap()).unwrap();
    let data: BTreeMap<String, String> =
        data.into_iter().map(|(key, value)| (key, text(value))).collect();
    Some(NodeDeclaration::read(|key| data.get(key).map(String::as_str)))
}

/// Waits until the declaration of nodes satisfies `enough`.
pub(crate) async fn until_stored(
    cluster: &TestCluster,
    enough: impl Fn(&NodeDeclaration) -> bool,
) -> NodeDeclaration {
    eventually(|| stored(cluster).filter(|it| enough(it))).await
}

/// Waits until the declaration `number` is on trial on just `nodes`.
pub(crate) async fn until_tried(cluster: &TestCluster, number: u64, nodes: &[&str]) {
    let nodes: BTreeSet<String> = nodes.iter().map(|&it| it.to_owned()).collect();
    let is_tried = |it: &NodeDeclaration| {
        it.trial.as_ref().is_some_and(|it| it.revision.number == number && it.nodes == nodes)
    };
    until_stored(cluster, is_tried).await;
}

/// Waits until the declaration `number` is verified.
pub(crate) async fn until_verified(cluster: &TestCluster, number: u64) -> NodeDeclaration {
    let is_verified =
        |it: &NodeDeclaration| it.verified.as_ref().is_some_and(|it| it.number == number);
    until_stored(cluster, |it| is_verified(it) && it.trial.is_none()).await
}

/// Reports that the agent of `name` has applied the declaration of the node.
pub(crate) async fn apply(cluster: &TestCluster, name: &str) {
    let number = stored(cluster).unwrap().for_node(name).unwrap().number;
    report(cluster, name, number, "True", "InPlace").await;
}

/// Writes a report in place of the agent of `name`.
pub(crate) async fn report(
    cluster: &TestCluster,
    name: &str,
    number: u64,
    status: &str,
    reason: &str,
) {
    let mirror = eventually(|| cluster.get(&format!("{NODE_MIRRORS}/{name}"))).await;
    report_as(cluster, name, &mirror["spec"]["nodeUid"], number, (status, reason)).await;
}

pub(crate) async fn report_as(
    cluster: &TestCluster,
    name: &str,
    uid: &Value,
    number: u64,
    (status, reason): (&str, &str),
) {
    let kind = GroupVersionKind::gvk("image-swap.io", "v1alpha1", "NodeMirror");
    let kind = ApiResource::from_gvk_with_plural(&kind, "nodemirrors");
    let mirrors: Api<DynamicObject> = Api::all_with(cluster.client.clone(), &kind);
    let object = json!({
        "apiVersion": "image-swap.io/v1alpha1", "kind": "NodeMirror", "metadata": { "name": name },
        "status": {
            "nodeUid": uid, "bootID": format!("boot-of-{name}"),
            "wantedRevision": number, "appliedRevision": number,
            "conditions": [{
                "type": "Applied", "status": status, "reason": reason, "message": "",
                "lastTransitionTime": "2026-11-29T00:00:00Z",
            }],
        },
    });
    let params = PatchParams::apply("image-swap-agent").force();
    mirrors.patch_status(name, &params, &Patch::Apply(&object)).await.unwrap();
}

/// Waits for the trial pod on `node`, and sets the state of its container as a kubelet does.
async fn pull(cluster: &TestCluster, number: u64, node: &str, state: &Value, id: &str) -> Value {
    let path = format!("{TRIALS}/trial-{number}-{node}");
    let pod = eventually(|| cluster.get(&path)).await;
    let image = pod["spec"]["containers"][0]["image"].clone();
    let container = json!({
        "name": "trial", "image": image, "imageID": id, "ready": false, "restartCount": 0,
        "state": state, "lastState": {},
    });
    let status = json!({ "status": { "phase": "Pending", "containerStatuses": [container] } });
    cluster.request("PATCH", &format!("{path}/status"), Some(&status));
    pod
}

/// Reports a container that cannot start: its image, with the digest, is on the node.
pub(crate) async fn pulled(cluster: &TestCluster, number: u64, node: &str, digest: &str) -> Value {
    let state = json!({ "terminated": { "reason": "StartError", "exitCode": 128 } });
    let id = format!("docker.io/library/busybox@{digest}");
    pull(cluster, number, node, &state, &id).await
}

/// Ends a trial pod that is being deleted, as a kubelet does.
pub(crate) async fn ended(cluster: &TestCluster, number: u64, node: &str) {
    let path = format!("{TRIALS}/trial-{number}-{node}");
    let is_ending = |it: &Value| it["metadata"]["deletionTimestamp"].is_string();
    let pod = eventually(|| cluster.get(&path).filter(is_ending)).await;
    cluster.kill(TRIALS, &pod);
}

/// Waits until the report about nodes satisfies `enough`.
pub(crate) async fn until_agents(
    controller: &mut Running,
    enough: impl Fn(&AgentsStatus) -> bool,
) -> AgentsStatus {
    let report = until(&mut controller.report, |it| it.agents.as_ref().is_some_and(&enough)).await;
    report.agents.unwrap()
}

/// Returns the condition of a `NodeMirror` as status and reason.
fn condition(cluster: &TestCluster, name: &str, kind: &str) -> Option<(String, String)> {
    let mirror = cluster.get(&format!("{NODE_MIRRORS}/{name}"))?;
    let conditions = mirror["status"]["conditions"].as_array()?.iter();
    let found = conditions.into_iter().find(|it| it["type"] == kind)?.clone();
    Some((found["status"].as_str()?.to_owned(), found["reason"].as_str()?.to_owned()))
}

async fn until_condition(
    cluster: &TestCluster,
    name: &str,
    kind: &str,
    (status, reason): (&str, &str),
) {
    let wanted = (status.to_owned(), reason.to_owned());
    eventually(|| condition(cluster, name, kind).filter(|it| *it == wanted)).await;
}

// guarantee: 3c
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn declaration_reaches_all_nodes_after_trial_pulls() {
    let cluster = set().await;
    for (name, runtime) in
        [("a", "containerd://2.4.1"), ("b", "containerd://2.4.1"), ("c", "containerd://1.6.9")]
    {
        add_node(&cluster, name, runtime, &Value::Null);
        add_agent(&cluster, name);
    }
    let mut workload = pod();
    workload["spec"]["containers"][0]["image"] = "busybox:1.36".into();
    cluster.request("POST", APPS, Some(&workload));
    let served = Arc::new(Mutex::new(BTreeSet::from([INDEX, PLATFORM])));
    let mirror = mirror(&served).await;
    let mut controller = cluster.controller(with_agents(), "one");
    until_agents(&mut controller, |it| it.nodes == 3).await;
    let mut keys = declared(&mirror.domain, &mirror.authority);
    cluster.declare(JET_SECRETS, "registry-info", &keys);

    // Nothing is declared: number 1 is without a trial.
    until_tried(&cluster, 2, &["a", "c"]).await;
    for node in ["a", "c"] {
        apply(&cluster, node).await;
    }
    let trial = pulled(&cluster, 2, "a", INDEX).await;
    let container = &trial["spec"]["containers"][0];
    assert_eq!(
        (&container["image"], &trial["spec"]["nodeName"]),
        (&json!("busybox:1.36"), &json!("a"))
    );
    assert_eq!(trial["metadata"]["annotations"]["image-swap.io/trial"], "2");
    until_condition(&cluster, "a", "Verified", ("Unknown", "OnTrial")).await;
    assert_eq!(stored(&cluster).unwrap().for_node("b").unwrap().number, 1);
    pulled(&cluster, 2, "c", PLATFORM).await;
    let verified = until_verified(&cluster, 2).await.verified.unwrap();
    assert_eq!(verified.effective.secret.data["PASSWORD"], b"s3cret-of-the-robot");
    for node in ["a", "b", "c"] {
        apply(&cluster, node).await;
    }
    let report = until_agents(&mut controller, |it| it.applied == 3).await;
    assert_eq!((report.revision, report.verified_revision, &*report.trial), (2, 2, ""));
    until_condition(&cluster, "b", "Verified", ("True", "Pulled")).await;
    for node in ["a", "c"] {
        ended(&cluster, 2, node).await;
    }
    for reason in ["TrialStarted", "NodesVerified"] {
        eventually(|| cluster.events(NAMESPACE, reason).first().cloned()).await;
    }

    // A new password, which is wrong.
    keys.insert("PASSWORD", "rotated".into());
    cluster.declare(JET_SECRETS, "registry-info", &keys);
    until_tried(&cluster, 3, &["a", "c"]).await;
    for node in ["a", "c"] {
        apply(&cluster, node).await;
    }
    let refused = "failed to resolve image: 401 Unauthorized";
    let waiting = json!({ "waiting": { "reason": "ErrImagePull", "message": refused } });
    pull(&cluster, 3, "c", &waiting, "").await;
    let failed = until_stored(&cluster, |it| it.failed.is_some()).await;
    assert_eq!(failed.failed.as_ref().unwrap().reason, format!("c: {refused}"));
    for node in ["a", "b", "c"] {
        assert_eq!(failed.for_node(node).as_ref(), Some(&verified), "{node}");
    }
    let report = until_agents(&mut controller, |it| it.failed).await;
    assert_eq!((report.revision, report.verified_revision), (3, 2));
    let metrics = controller.metrics.text().unwrap();
    for row in ["nodes_revision 3", "nodes_verified_revision 2", "trial_failed 1"] {
        assert!(metrics.contains(&format!("image_swap_controller_{row}")), "{row}: {metrics}");
    }
    let found = status(&cluster.client, &release()).await.unwrap();
    assert!(found.problems.iter().any(|it| it.code == "node-trial-failed"), "{found:?}");
    eventually(|| cluster.events(NAMESPACE, "TrialFailed").first().cloned()).await;
    for node in ["a", "c"] {
        apply(&cluster, node).await;
        ended(&cluster, 3, node).await;
    }

    // The next one is another declaration. Its pull goes past the mirror.
    keys.insert("PASSWORD", "again".into());
    cluster.declare(JET_SECRETS, "registry-info", &keys);
    until_tried(&cluster, 4, &["a", "c"]).await;
    apply(&cluster, "a").await;
    pulled(&cluster, 4, "a", OTHER).await;
    let is_new = |it: &NodeDeclaration| it.failed.as_ref().is_some_and(|it| it.number == 4);
    let failed = until_stored(&cluster, is_new).await.failed.unwrap();
    assert!(failed.reason.contains("does not serve"), "{}", failed.reason);
    // The verified one is declared again: it needs no trial.
    keys.insert("PASSWORD", "s3cret-of-the-robot".into());
    cluster.declare(JET_SECRETS, "registry-info", &keys);
    until_stored(&cluster, |it| it.trial.is_none() && it.failed.is_none()).await;
    let secret = cluster.get("/api/v1/namespaces/image-swap-system/configmaps/image-swap-status");
    assert!(!secret.unwrap().to_string().contains("s3cret"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn reports_count_only_for_the_present_node() {
    let cluster = set().await;
    let containerd = "containerd://2.4.1";
    add_node(&cluster, "a", containerd, &Value::Null);
    add_agent(&cluster, "a");
    add_node(&cluster, "silent", "cri-o://1.34.1", &Value::Null);
    let stale = json!({ "image-swap.io/runtime": "containerd", "kubernetes.io/os": "windows" });
    add_node(&cluster, "w", containerd, &json!({ "os": "windows", "labels": stale }));
    let managed = json!({ "osImage": "Bottlerocket OS 1.30.0 (aws-k8s-1.34)", "labels": stale });
    add_node(&cluster, "m", containerd, &managed);
    let mirror = mirror(&Arc::default()).await;
    let keys = declared(&mirror.domain, &mirror.authority);
    cluster.declare(JET_SECRETS, "registry-info", &keys);
    let mut controller = cluster.controller(with_agents(), "one");

    // Without an image, the check of the registry replaces the pull.
    until_tried(&cluster, 1, &["a"]).await;
    apply(&cluster, "a").await;
    until_verified(&cluster, 1).await;
    until_condition(&cluster, "a", "Verified", ("True", "NoTrialImage")).await;
    let label = |name: &str| {
        let node = cluster.get(&format!("{NODES}/{name}")).unwrap();
        node["metadata"]["labels"]["image-swap.io/runtime"].as_str().map(str::to_owned)
    };
    eventually(|| label("w").is_none().then_some(())).await;
    eventually(|| label("m").is_none().then_some(())).await;
    eventually(|| label("silent").filter(|it| it == "crio")).await;
    assert_eq!(label("a").as_deref(), Some("containerd"));
    until_condition(&cluster, "m", "Applied", ("False", "Managed")).await;
    until_condition(&cluster, "silent", "Applied", ("Unknown", "AgentNotRunning")).await;
    assert!(cluster.get(&format!("{NODE_MIRRORS}/w")).is_none());
    let uid = |path: &str| cluster.get(path).unwrap()["metadata"]["uid"].clone();
    let owner = || {
        let mirror = cluster.get(&format!("{NODE_MIRRORS}/a"))?;
        Some(mirror["metadata"]["ownerReferences"][0].clone())
    };
    let (old, node) = (uid(&format!("{NODES}/a")), json!("Node"));
    let expected = json!({ "apiVersion": "v1", "kind": node, "name": "a", "uid": old });
    assert_eq!(owner(), Some(expected));
    let report = until_agents(&mut controller, |it| it.applied == 1 && it.nodes == 3).await;
    let reasons: Vec<_> = report.pending.iter().map(|it| it.reason.as_str()).collect();
    assert_eq!(reasons, ["AgentNotRunning", "Managed"]);

    // The host gets a new Node: its agent has to report again.
    cluster.request("DELETE", &format!("{NODES}/a"), None);
    add_node(&cluster, "a", containerd, &Value::Null);
    let new = uid(&format!("{NODES}/a"));
    eventually(|| owner().filter(|it| it["uid"] == new)).await;
    until_agents(&mut controller, |it| it.applied == 0).await;
    report_as(&cluster, "a", &old, 1, ("True", "InPlace")).await;
    until_condition(&cluster, "a", "Applied", ("Unknown", "AgentNotRunning")).await;
    report_as(&cluster, "a", &new, 1, ("True", "InPlace")).await;
    until_agents(&mut controller, |it| it.applied == 1).await;

    cluster.request("DELETE", &format!("{NODES}/silent"), None);
    eventually(|| cluster.get(&format!("{NODE_MIRRORS}/silent")).is_none().then_some(())).await;
    until_agents(&mut controller, |it| it.nodes == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn declaration_number_never_falls() {
    let cluster = set().await;
    add_node(&cluster, "a", "containerd://2.4.1", &Value::Null);
    add_agent(&cluster, "a");
    let mirror = mirror(&Arc::default()).await;
    let mut keys = declared(&mirror.domain, &mirror.authority);
    cluster.declare(JET_SECRETS, "registry-info", &keys);
    let mut controller = cluster.controller(with_agents(), "one");
    until_tried(&cluster, 1, &["a"]).await;
    apply(&cluster, "a").await;
    let first = until_verified(&cluster, 1).await;

    // A deleted Secret is written again, without a trial.
    cluster.request("DELETE", STORED, None);
    assert_eq!(until_verified(&cluster, 1).await, first);
    keys.insert("PASSWORD", "rotated".into());
    cluster.declare(JET_SECRETS, "registry-info", &keys);
    until_tried(&cluster, 2, &["a"]).await;
    apply(&cluster, "a").await;
    until_verified(&cluster, 2).await;

    // Helm removes the agents.
    cluster.request("DELETE", STORED, None);
    let marker = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "image-swap-nodes" },
        "stringData": { "restore": "true" },
    });
    cluster.request("POST", SECRETS, Some(&marker));
    until_agents(&mut controller, |it| it.trial.contains("restore")).await;
    let revision = controller.report.borrow().declaration.revision;
    keys.insert("PASSWORD", "third".into());
    cluster.declare(JET_SECRETS, "registry-info", &keys);
    until(&mut controller.report, |it| it.declaration.revision > revision).await;
    let is_marker = || stored(&cluster).is_some_and(|it| it.restore && it.verified.is_none());
    assert!(is_marker());
    let restored = until_agents(&mut controller, |it| it.trial.contains("restore")).await;
    assert_eq!(restored.verified_revision, 2);
    report(&cluster, "a", 2, "False", "Restored").await;
    assert!(is_marker());

    // The agents are enabled again, which starts another process.
    drop(controller);
    let mut controller = cluster.controller(with_agents(), "two");
    until_tried(&cluster, 3, &["a"]).await;
    apply(&cluster, "a").await;
    until_verified(&cluster, 3).await;
    until_agents(&mut controller, |it| it.applied == 1).await;
}

// guarantee: 5d
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn deleted_node_declaration_stays_away_during_hooks() {
    let cluster = set().await;
    add_node(&cluster, "a", "containerd://2.4.1", &Value::Null);
    add_agent(&cluster, "a");
    let mirror = mirror(&Arc::default()).await;
    let mut keys = declared(&mirror.domain, &mirror.authority);
    cluster.declare(JET_SECRETS, "registry-info", &keys);
    let mut controller = cluster.controller(with_agents(), "one");
    until_tried(&cluster, 1, &["a"]).await;
    apply(&cluster, "a").await;
    until_verified(&cluster, 1).await;

    // The order of the hooks: the mark, the deletion of the Secret, the Secret with the demand.
    let maps = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    let mark = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "image-swap-uninstall" },
    });
    cluster.request("POST", &maps, Some(&mark));
    until_agents(&mut controller, |it| it.trial.contains("image-swap-uninstall")).await;
    cluster.request("DELETE", STORED, None);
    let revision = controller.report.borrow().declaration.revision;
    keys.insert("PASSWORD", "rotated".into());
    cluster.declare(JET_SECRETS, "registry-info", &keys);
    until(&mut controller.report, |it| it.declaration.revision > revision).await;
    // A reconciliation has begun after the Secret was deleted.
    add_node(&cluster, "b", "containerd://2.4.1", &Value::Null);
    let report = until_agents(&mut controller, |it| it.nodes == 2).await;
    assert!(report.trial.contains("image-swap-uninstall"), "{}", report.trial);
    assert!(stored(&cluster).is_none());

    // An administrator deletes the mark of hooks that failed: the rollout continues.
    cluster.request("DELETE", &format!("{maps}/image-swap-uninstall"), None);
    until_tried(&cluster, 2, &["a"]).await;
    // A mark of the first look is an ordinary object.
    cluster.request("POST", &maps, Some(&mark));
    until_agents(&mut controller, |it| it.trial.contains("image-swap-uninstall")).await;
    drop(controller);
    let _controller = cluster.controller(with_agents(), "two");
    apply(&cluster, "a").await;
    until_verified(&cluster, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn missing_custom_resource_is_a_problem() {
    let cluster = set_undefined(&Options::default()).await;
    add_node(&cluster, "a", "containerd://2.4.1", &Value::Null);
    let mut controller = cluster.controller(with_agents(), "one");
    let of_nodes = |it: &FailingStep| it.name == "nodes";
    let report = until(&mut controller.report, |it| it.failing.iter().any(of_nodes)).await;
    let step = report.failing.iter().find(|it| of_nodes(it)).unwrap();
    for part in ["cannot watch NodeMirrors", "404", "CustomResourceDefinition"] {
        assert!(step.error.contains(part), "{}", step.error);
    }
    eventually(|| cluster.events(NAMESPACE, "StepFailed").first().cloned()).await;
    let found = status(&cluster.client, &release()).await.unwrap();
    assert!(found.problems.iter().any(|it| it.code == "step-failed"), "{found:?}");

    cluster.define_node_mirrors().await;
    until_agents(&mut controller, |it| it.nodes == 1).await;
    until(&mut controller.report, |it| it.failing.is_empty()).await;
    eventually(|| cluster.get(&format!("{NODE_MIRRORS}/a"))).await;
}

/// Returns hash, mode and text of the declaration that replicas serve.
fn served(cluster: &TestCluster) -> Option<(String, String, String)> {
    let secret = cluster.get(&format!("{SECRETS}/image-swap-effective"))?;
    let hash = secret["metadata"]["annotations"]["image-swap.io/hash"].as_str()?.to_owned();
    let text = |key: &str| {
        let text = STANDARD.decode(secret["data"][key].as_str()?).unwrap();
        String::from_utf8(text).ok()
    };
    Some((hash, text("mode")?, text("declaration")?))
}

/// Returns the password with which the namespace `apps` pulls.
fn pull_password(cluster: &TestCluster, domain: &str) -> Option<String> {
    let secret = cluster.get("/api/v1/namespaces/apps/secrets/image-swap-pull")?;
    let data = secret["data"][".dockerconfigjson"].as_str()?;
    let config: Value = serde_json::from_slice(&STANDARD.decode(data).unwrap()).unwrap();
    let entry = &config["auths"][format!("{domain}/airgap")];
    entry["password"].as_str().map(str::to_owned)
}

// guarantee: 4h
#[expect(clippy::too_many_lines, reason = "the steps of one cluster's life")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn pods_follow_a_declaration_all_nodes_trust() {
    let cluster = set().await;
    for name in ["a", "b"] {
        add_node(&cluster, name, "containerd://2.4.1", &Value::Null);
        add_agent(&cluster, name);
    }
    let digests = Arc::new(Mutex::new(BTreeSet::from([INDEX])));
    let mirror = mirror(&digests).await;
    let mut keys = declared(&mirror.domain, &mirror.authority);
    cluster.declare(JET_SECRETS, "registry-info", &keys);
    let mut swapped = pod();
    swapped["metadata"]["annotations"] =
        json!({ "image-swap.io/original-images": r#"{"main":"busybox:1.36"}"# });
    let image = format!("{}/airgap/docker.io/library/busybox:1.36", mirror.domain);
    swapped["spec"]["containers"][0]["image"] = image.into();
    swapped["spec"]["imagePullSecrets"] = json!([{ "name": "image-swap-pull" }]);
    cluster.request("POST", APPS, Some(&swapped));
    let mut controller = cluster.controller(with_agents(), "one");

    // The first declaration: pods keep their images.
    until_tried(&cluster, 1, &["a"]).await;
    let waiting = until(&mut controller.report, |it| it.declaration.waits.is_some()).await;
    assert_eq!(waiting.policy.mode, Some(Mode::Audit));
    let first = waiting.declaration.hash.clone();
    let (hash, mode, _) = eventually(|| served(&cluster)).await;
    assert_eq!((&hash, &*mode), (&first, "audit"));
    // A node without a report would need an administrator soon.
    report(&cluster, "b", 0, "False", "NoDeclaration").await;
    apply(&cluster, "a").await;
    pulled(&cluster, 1, "a", INDEX).await;
    until_verified(&cluster, 1).await;
    // A node with the declaration before does not count, and neither does one on trial.
    let waiting = until(&mut controller.report, |it| {
        it.agents.as_ref().is_some_and(|it| it.applied == 1)
            && it.declaration.waits.as_ref().is_some_and(|it| it.reason.contains(" on b: "))
    })
    .await;
    assert!(!waiting.declaration.waits.unwrap().needs_administrator);
    let found = status(&cluster.client, &release()).await.unwrap();
    assert!(found.notes.iter().any(|it| it.contains("pods keep their images")), "{found:?}");
    assert!(!found.problems.iter().any(|it| it.code == "audit"), "{found:?}");
    apply(&cluster, "b").await;
    let enforcing = until(&mut controller.report, |it| it.policy.mode == Some(Mode::Enforce)).await;
    assert_eq!(enforcing.declaration.waits, None);
    eventually(|| served(&cluster).filter(|it| it.0 == first && it.1 == "enforce")).await;
    for reason in ["PodsWaitForNodes", "PodsWaitedForNodes"] {
        eventually(|| cluster.events(NAMESPACE, reason).first().cloned()).await;
    }
    let former = "s3cret-of-the-robot";
    eventually(|| pull_password(&cluster, &mirror.domain).filter(|it| it == former)).await;

    // Another authority, rule and password: the former declaration is served until then.
    let another = Faulty::start(|params| params, |_| Response::default()).await;
    keys.insert("CA_CERT", format!("{}{}", mirror.authority, another.authority));
    keys.insert("PASSWORD", "rotated".into());
    let rules = format!("docker.io::{0}/airgap/docker.io,gcr.io::{0}/airgap/gcr.io", mirror.domain);
    keys.insert("MIRROR_REGISTRIES", rules);
    cluster.declare(JET_SECRETS, "registry-info", &keys);
    until_tried(&cluster, 2, &["a"]).await;
    let waiting = until(&mut controller.report, |it| it.declaration.waits.is_some()).await;
    let second = waiting.declaration.hash.clone();
    assert_ne!(second, first);
    assert_eq!(
        waiting.declaration.waits.as_ref().map(|it| (&*it.served, it.rules)),
        Some((&*first, 1))
    );
    assert_eq!(waiting.policy.mode, Some(Mode::Enforce));
    // The next leader does the same.
    drop(controller);
    let mut controller = cluster.controller(with_agents(), "two");
    until(&mut controller.report, |it| {
        it.declaration.waits.as_ref().is_some_and(|it| it.served == first)
    })
    .await;
    apply(&cluster, "a").await;
    pulled(&cluster, 2, "a", INDEX).await;
    until_verified(&cluster, 2).await;
    until_agents(&mut controller, |it| it.applied == 1).await;
    let (hash, mode, text) = served(&cluster).unwrap();
    assert_eq!((hash, &*mode, text.contains("gcr.io")), (first, "enforce", false));
    apply(&cluster, "b").await;
    until(&mut controller.report, |it| {
        it.declaration.waits.is_none() && it.declaration.hash == second
    })
    .await;
    eventually(|| served(&cluster).filter(|it| it.0 == second && it.1 == "enforce")).await;
    eventually(|| pull_password(&cluster, &mirror.domain).filter(|it| it == "rotated")).await;

    // A new node without an agent, and a change of rules, keep the declaration in force.
    add_node(&cluster, "new", "containerd://2.4.1", &Value::Null);
    until_condition(&cluster, "new", "Applied", ("Unknown", "AgentNotRunning")).await;
    keys.insert("MIRROR_REGISTRIES", format!("default::{}/airgap", mirror.domain));
    cluster.declare(JET_SECRETS, "registry-info", &keys);
    let third = until(&mut controller.report, |it| it.declaration.hash != second).await;
    assert_eq!((third.declaration.waits, third.policy.mode), (None, Some(Mode::Enforce)));
    let third = third.declaration.hash;
    eventually(|| served(&cluster).filter(|it| it.0 == third && it.1 == "enforce")).await;

    // The authority changes again: an administrator has to act on that node.
    keys.insert("CA_CERT", mirror.authority.clone());
    cluster.declare(JET_SECRETS, "registry-info", &keys);
    until(&mut controller.report, |it| {
        let waits = it.declaration.waits.as_ref();
        waits.is_some_and(|it| it.served == third && it.needs_administrator)
    })
    .await;
    let found = status(&cluster.client, &release()).await.unwrap();
    let found = found.problems.iter().find(|it| it.code == "pods-wait-for-nodes").unwrap();
    assert!(found.message.contains(" on new: ") && found.message.contains(&third), "{found:?}");
    // The node leaves. The others get the declaration.
    cluster.request("DELETE", &format!("{NODES}/new"), None);
    let is_last = |it: &NodeDeclaration| {
        it.trial.as_ref().is_some_and(|it| {
            let data = &it.revision.effective.secret.data;
            !it.nodes.is_empty() && data["CA_CERT"] == mirror.authority.as_bytes()
        })
    };
    let number = until_stored(&cluster, is_last).await.trial.unwrap().revision.number;
    apply(&cluster, "a").await;
    pulled(&cluster, number, "a", INDEX).await;
    until_verified(&cluster, number).await;
    apply(&cluster, "b").await;
    until(&mut controller.report, |it| it.declaration.waits.is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn controller_is_ready_once_nodes_trust_the_declaration() {
    let cluster = set().await;
    add_node(&cluster, "a", "containerd://2.4.1", &Value::Null);
    add_agent(&cluster, "a");
    let mirror = mirror(&Arc::default()).await;
    let keys = declared(&mirror.domain, &mirror.authority);
    cluster.declare(JET_SECRETS, "registry-info", &keys);
    let mut controller = cluster.controller(with_agents(), "one");
    let (replica, _following) = cluster.replica().await;
    cluster.serve_at(replica.port());
    until(&mut controller.report, |it| {
        it.policy.probe == ProbeStatus::Reached && it.declaration.waits.is_some()
    })
    .await;
    let long = Duration::from_mins(5);
    let limits = ReadinessLimits {
        period: Duration::from_millis(50),
        settle: long,
        unreached: long,
        total: long,
    };
    let wait = |limits: ReadinessLimits| {
        let client = cluster.client.clone();
        tokio::spawn(async move {
            Controller::new(&client, with_agents(), "waiting", intervals()).in_force(limits).await;
        })
    };
    // The limit counts.
    wait(ReadinessLimits { unreached: Duration::ZERO, ..limits }).await.unwrap();
    let waiting = wait(limits);
    until_tried(&cluster, 1, &["a"]).await;
    assert!(!waiting.is_finished());
    apply(&cluster, "a").await;
    waiting.await.unwrap();
    until(&mut controller.report, |it| {
        it.declaration.waits.is_none() && it.policy.mode == Some(Mode::Enforce)
    })
    .await;
}
