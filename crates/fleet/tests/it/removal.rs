//! Removal from a workload cluster: exactly the documented objects remain.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use image_swap_cluster::{
    AgentSettings, Controller, Intervals, Leadership, Release, Settings, client,
};
use image_swap_core::{
    control::{effective::Effective, policy::RequestedPolicy},
    mirror::Fallback,
};
use image_swap_fleet::remote::Removal;
use image_swap_testbed::{ControlPlane, RunDir};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle};

use crate::workload::{NAMESPACE, Workload, connect, declaration, now, removal};

const REGISTRY_INFO: &str = "/api/v1/namespaces/jet-system/secrets/registry-info";
const PODS: &str = "/api/v1/namespaces/apps/pods";
const PULL_SECRET: &str = "/api/v1/namespaces/apps/secrets/image-swap-pull";

/// The controller of the workload cluster, with the permissions of its account.
pub(crate) struct WorkloadController {
    task: JoinHandle<()>,
    _leads: watch::Sender<bool>,
    _files: RunDir,
}

impl Drop for WorkloadController {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn settings() -> Settings {
    Settings {
        release: Release { namespace: NAMESPACE.into(), name: "image-swap".into() },
        chart_secret: None,
        service: "image-swap-admission".into(),
        service_port: 443,
        policy: RequestedPolicy::Fail,
        timeout_seconds: 5,
        system_namespaces: vec!["kube-system".into()],
        namespace_label: "k8s.twr.io/imageswap".into(),
        opt_in: false,
        pull_secrets: true,
        adopt: false,
        coexist: false,
        tls_existing_secret: None,
        registry_info_labels: BTreeMap::new(),
        agents: Some(AgentSettings {
            namespace: "image-swap-agent".into(),
            trial_namespace: "image-swap-trial".into(),
            fallback: Fallback::Upstream,
            credentials: true,
            trial_image: None,
            deadline: Duration::from_mins(1),
            startup_taint: false,
            restart: None,
        }),
        heartbeat: true,
        hub_secret: None,
        bundle_hash: None,
        template_namespaces: Vec::new(),
    }
}

/// Starts the controller of the workload cluster `plane`.
pub(crate) async fn start_controller(plane: &ControlPlane) -> WorkloadController {
    let kubeconfig = plane.token_kubeconfig(NAMESPACE, "image-swap-controller", false);
    let files = RunDir::new("fleet").unwrap();
    let path = files.write("kubeconfig", kubeconfig.unwrap()).unwrap();
    let client = client(Some(&path)).await.unwrap();
    let intervals = Intervals {
        look: Duration::from_secs(1),
        retry: Duration::from_millis(200),
        gap: Duration::from_millis(10),
        heartbeat: Duration::from_millis(200),
        heartbeat_gap: Duration::from_millis(10),
        ..Intervals::default()
    };
    let controller = Controller::new(&client, settings(), "one", intervals);
    let (leads, leadership): (_, Leadership) = watch::channel(true);
    let task = tokio::spawn(async move { Box::pin(controller.run(leadership)).await });
    WorkloadController { task, _leads: leads, _files: files }
}

/// Returns a swapped pod that names the pull Secret.
fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "user",
            "annotations": { "image-swap.io/original-images": r#"{"main":"nginx"}"# },
        },
        "spec": {
            "containers": [{ "name": "main", "image": "harbor.example.org/hub/library/nginx" }],
            "imagePullSecrets": [{ "name": "image-swap-pull" }],
        },
    })
}

/// Removes the release until the removal is complete. Returns the objects that stay.
async fn remove(workload: &Workload) -> Vec<String> {
    let objects = workload.objects("", &Effective::none()).await;
    let report = workload.remote.remove(&objects, &removal()).await.unwrap();
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    assert!(report.is_complete, "{report:?}");
    report.kept.iter().map(|it| format!("{}: {}", it.object, it.reason)).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn only_pull_secrets_of_living_pods_remain() {
    let mut workload = Workload::start(true);
    workload.plane.create_namespace("apps").unwrap();
    workload.until("the default account", |it| {
        it.get("/api/v1/namespaces/apps/serviceaccounts/default")
            .and(it.get("/api/v1/namespaces/apps/configmaps/kube-root-ca.crt"))
    });
    let mut expected = workload.names();

    // The fleet controller creates its account by the credential of an administrator.
    workload.remote.create_token(NAMESPACE, now()).await.unwrap();
    let objects = workload.objects("", &declaration()).await;
    let report = workload.apply(&objects).await;
    assert!(report.is_complete(), "{report:?}");
    let controller = start_controller(&workload.plane).await;
    let release = settings().release;
    for name in [
        release.effective(),
        release.last_good(),
        release.nodes(),
        release.authority(),
        release.certificate(),
    ] {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets/{name}");
        workload.until(&path, |it| it.get(&path));
    }
    let leases = format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases");
    workload.until("a heartbeat", |it| it.get(&format!("{leases}/{}", release.heartbeat())));
    workload.request("POST", PODS, Some(&pod()));
    workload.until("the pull Secret", |it| it.get(PULL_SECRET));
    assert!(workload.names().len() > expected.len() + 40, "{:?}", workload.names());

    // The controller runs while it is removed, and afterwards.
    assert_eq!(remove(&workload).await, [""; 0]);
    for name in ["pods apps/user", "secrets apps/image-swap-pull"] {
        expected.insert(name.to_owned());
    }
    workload.until_names(&expected, Workload::names);
    assert!(!controller.task.is_finished());
    assert_eq!(remove(&workload).await, [""; 0]);
    workload.until_names(&expected, Workload::names);

    // The garbage collector deletes the Secret after its last pod.
    workload.request("DELETE", &format!("{PODS}/user?gracePeriodSeconds=0"), None);
    workload.until("the end of the pull Secret", |it| it.get(PULL_SECRET).is_none().then_some(()));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn objects_of_others_stay_with_their_namespaces() {
    let mut workload = Workload::start(false);
    // Another program created jet-system and the declaration.
    workload.plane.create_namespace("jet-system").unwrap();
    let declared = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "registry-info" },
        "stringData": { "DOMAIN": "other.example.org" },
    });
    workload.request("POST", "/api/v1/namespaces/jet-system/secrets", Some(&declared));
    let objects = workload.objects("", &declaration()).await;
    assert!(workload.apply(&objects).await.is_complete());
    let map = |name: &str| json!({ "kind": "ConfigMap", "metadata": { "name": name } });
    let maps = "/api/v1/namespaces/image-swap-trial/configmaps";
    workload.request("POST", maps, Some(&map("kube-root-ca.crt")));
    let maps = "/api/v1/namespaces/image-swap-agent/configmaps";
    workload.request("POST", maps, Some(&map("notes")));
    workload.apply_by_other(&json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": { "name": "image-swap-agent", "namespace": "image-swap-agent" },
        "imagePullSecrets": [{ "name": "mine" }],
    }));

    let mut kept = remove(&workload).await;
    kept.sort();
    let expected = [
        "Namespace image-swap-agent: it has objects of other programs",
        "Namespace jet-system: the fleet controller did not create it",
        "Secret jet-system/registry-info: the fleet controller did not create it",
        "ServiceAccount image-swap-agent/image-swap-agent: another program applies it",
    ];
    assert_eq!(kept, expected);
    assert!(workload.get(REGISTRY_INFO).is_some());
    let namespace = |name: &str| workload.get(&format!("/api/v1/namespaces/{name}")).unwrap();
    let is_ending = |name: &str| namespace(name)["metadata"]["deletionTimestamp"].is_string();
    let names = ["image-swap", "image-swap-trial", "image-swap-agent", "jet-system"];
    assert_eq!(names.map(is_ending), [true, true, false, false]);

    // The namespaces that are being deleted have no object of image-swap left.
    let left = workload.names();
    let left =
        left.iter().filter(|it| it.contains(" image-swap/") || it.contains(" image-swap-trial/"));
    let left: Vec<&str> = left.map(String::as_str).collect();
    assert_eq!(left, ["configmaps image-swap-trial/kube-root-ca.crt"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn token_of_the_fleet_removes_all_but_its_account() {
    let mut workload = Workload::start(false);
    workload.plane.create_namespace(NAMESPACE).unwrap();
    workload.remote.create_token(NAMESPACE, now()).await.unwrap();
    let objects = workload.objects("", &declaration()).await;
    assert!(workload.apply(&objects).await.is_complete());
    let token = workload.plane.issue_token(NAMESPACE, "image-swap-fleet").unwrap();
    workload.remote = connect(&workload.plane.token_to_kubeconfig(&token));
    let kept = remove(&workload).await;
    assert_eq!(kept, ["Namespace image-swap: the fleet controller did not create it"]);
    // The API server may still know the permissions of the token, and delete the account as well.
    let account = "serviceaccounts image-swap/image-swap-fleet";
    let mut left = workload.names();
    left.remove("serviceaccounts image-swap/default");
    left.retain(|it| it.contains("image-swap") && it != account && !it.starts_with("namespaces "));
    assert_eq!(left, BTreeSet::new());
}

/// Creates a Node, and the report of an agent that has configured it.
fn add_configured_node(workload: &Workload) {
    let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "n" } });
    let uid = workload.request("POST", "/api/v1/nodes", Some(&node))["metadata"]["uid"].clone();
    let status = json!({ "status": { "nodeInfo": {
        "bootID": "boot", "containerRuntimeVersion": "containerd://2.1.0",
        "kubeletVersion": "v1.37.2", "kubeProxyVersion": "", "machineID": "", "systemUUID": "",
        "kernelVersion": "6.1", "architecture": "amd64", "osImage": "Debian GNU/Linux 12",
        "operatingSystem": "linux",
    } } });
    workload.request("PATCH", "/api/v1/nodes/n/status", Some(&status));
    let mirror = "/apis/image-swap.io/v1alpha1/nodemirrors/n";
    workload.until("the object of the node", |it| it.get(mirror));
    let report = json!({ "status": {
        "nodeUid": uid, "bootID": "boot", "wantedRevision": 1, "appliedRevision": 1,
        "conditions": [],
    } });
    workload.request("PATCH", &format!("{mirror}/status"), Some(&report));
}

/// Covers the pod of a controller that runs, or starts again, after its bundle was replaced.
// guarantee: 5d
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn running_controller_cannot_withdraw_the_restore() {
    let mut workload = Workload::start(false);
    let agents = workload.objects("", &declaration()).await;
    assert!(workload.apply(&agents).await.is_complete());
    let _controller = start_controller(&workload.plane).await;
    let nodes = format!("/api/v1/namespaces/{NAMESPACE}/secrets/image-swap-nodes");
    workload.until("the declaration for nodes", |it| it.get(&nodes));
    add_configured_node(&workload);

    let none = workload.objects(r#"{"agent":{"enabled":false}}"#, &declaration()).await;
    let removal = Removal { wait: Duration::from_secs(1), ..removal() };
    let applied = workload.remote.apply_bundle(&none, &removal, &mut workload.log, now()).await;
    assert_eq!(applied.unwrap().restoring, 1);
    let ordered = workload.get(&nodes).unwrap();
    assert!(ordered["data"]["restore"].is_string(), "{}", ordered["metadata"]);
    let mut may = workload.plane.kubectl();
    may.args(["auth", "can-i", "patch", "secrets/image-swap-nodes", "--namespace", NAMESPACE]);
    may.arg("--as=system:serviceaccount:image-swap:image-swap-controller");
    let answer = String::from_utf8(may.output().unwrap().stdout).unwrap();
    assert_eq!(answer.trim(), "no");

    // The controller reconciles another declaration, and the request to restore stays.
    let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
    let effective = format!("/api/v1/namespaces/{NAMESPACE}/secrets/image-swap-effective");
    let before = version(&workload.get(&effective).unwrap());
    let rules =
        json!({ "stringData": { "MIRROR_REGISTRIES": "quay.io::harbor.example.org/quay" } });
    workload.request("PATCH", REGISTRY_INFO, Some(&rules));
    workload
        .until("the other declaration", |it| it.get(&effective).filter(|it| version(it) != before));
    assert_eq!(version(&workload.get(&nodes).unwrap()), version(&ordered));
}
