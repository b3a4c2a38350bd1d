//! The controller, the replicas and the agents with exactly the permissions of the chart: every
//! function works, and every permission is used.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use image_swap_cluster::{AgentSettings, NodeRestartSettings, Settings, deregister};
use image_swap_core::{control::policy::FailurePolicy, mirror::Fallback, status::NodeDeclaration};
use image_swap_testbed::Authority;
use image_swap_testkit::webhook_configuration;
use serde_json::{Value, json};

use super::{
    VALUES,
    nodes::{add_agent, add_default_account},
    rules::{Right, granted},
};
use crate::{
    agent::{agent_of, config_with_path, mk_host},
    install::{AGENTS, Account, Installed, TRIAL},
    nodes::{INDEX, add_node, ended, mirror, pulled, until_stored, until_verified},
    registry::declared,
    replica::Replica,
    test_cluster::{
        ANCHORS, JET_SECRETS, NODE_MIRRORS, REGISTRATIONS, Running, SECRETS, TestCluster,
        controller_by, eventually, intervals, keys, now, pod, release, settings, until,
    },
};

const PODS: &str = "/api/v1/namespaces/apps/pods";
const PULL_SECRETS: &str = "/api/v1/namespaces/apps/secrets";

/// The image of a pod with `nginx` under the chart's declaration.
const SWAPPED: &str = "chart.example.org/airgap/docker.io/library/nginx";

fn image(pod: &Value) -> &str {
    pod["spec"]["containers"][0]["image"].as_str().unwrap()
}

/// Returns the settings that the chart configures for the controller, as far as permissions depend
/// on them.
pub(super) fn controller_settings(installed: &Installed) -> Settings {
    let deployment = installed.controller();
    let arguments = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
    let arguments = arguments.as_array().unwrap().iter().map(|it| it.as_str().unwrap());
    let value = |flag: &str| arguments.clone().find_map(|it| it.strip_prefix(flag));
    let names = value("--system-namespaces=").unwrap();
    let agents = value("--agent-namespace=").map(|namespace| AgentSettings {
        namespace: namespace.to_owned(),
        trial_namespace: value("--trial-namespace=").unwrap().to_owned(),
        fallback: Fallback::Upstream,
        credentials: value("--agent-credentials=") == Some("true"),
        trial_image: None,
        deadline: Duration::from_secs(1),
        startup_taint: arguments.clone().any(|it| it == "--startup-taint"),
        restart: value("--restart-namespace=").map(|namespace| NodeRestartSettings {
            namespace: namespace.to_owned(),
            image: value("--restart-image=").unwrap().to_owned(),
            pull_secrets: Vec::new(),
            max_unavailable: 1,
            command: None,
        }),
    });
    Settings {
        adopt: arguments.clone().any(|it| it == "--adopt"),
        pull_secrets: value("--pull-secrets=") == Some("true"),
        tls_existing_secret: value("--tls-existing-secret=").map(str::to_owned),
        system_namespaces: names.split(',').map(str::to_owned).collect(),
        agents,
        heartbeat: arguments.clone().any(|it| it == "--heartbeat"),
        ..settings()
    }
}

/// Runs every function of the controller, a replica and an agent, and then `more`, with the
/// permissions of the chart. Asserts that no request was refused and every permission was used.
async fn works(
    installed: &Installed,
    more: impl AsyncFnOnce(&TestCluster, &mut Running, &Arc<Replica>),
) {
    let cluster = &installed.cluster;
    let settings = controller_settings(installed);
    cluster.request("POST", REGISTRATIONS, Some(&dead_imageswap()));

    let as_controller = installed.client_as(Account::Controller).await;
    let as_admission = installed.client_as(Account::Admission).await;
    let certificate = settings.tls_existing_secret.as_deref().unwrap_or("image-swap-tls");
    let (replica, following) = cluster.replica_with(&as_admission, certificate).await;
    cluster.serve_at(replica.port());
    let mut controller = controller_by(&as_controller, settings, "one", intervals(), now);
    until(&mut controller.report, |it| it.policy.failure_policy == Some(FailurePolicy::Fail)).await;
    until(&mut replica.served(), |it| it.as_ref().is_some_and(|it| !it.hash.is_empty())).await;
    let adopted = || cluster.get(&format!("{REGISTRATIONS}/imageswap-webhook")).is_none();
    eventually(|| adopted().then_some(())).await;

    more(cluster, &mut controller, &replica).await;
    a_declaration_reaches_a_node(installed).await;

    // Refused twice for the same reason: the count of the Event increases.
    for _ in 0..2 {
        cluster.declare(JET_SECRETS, "registry-info", &keys("page.example.org"));
        until(&mut controller.report, |it| it.declaration.refused.is_empty()).await;
        cluster.declare(JET_SECRETS, "registry-info", &BTreeMap::new());
        until(&mut controller.report, |it| !it.declaration.refused.is_empty()).await;
    }
    assert_eq!(cluster.events("jet-system", "RegistryInfoRefused").len(), 1);

    // After a deletion by hand, the registration is created again and raised to `Fail`.
    let registration = format!("{REGISTRATIONS}/image-swap-admission");
    cluster.request("DELETE", &registration, None);
    eventually(|| cluster.get(&registration)).await;
    until(&mut controller.report, |it| it.policy.failure_policy == Some(FailurePolicy::Fail)).await;

    // The controller's account may run the verb `deregister`.
    deregister(&as_controller, &release()).await.unwrap();
    assert!(cluster.registration().is_none());
    drop(controller);
    drop(following);

    for account in [Account::Controller, Account::Admission, Account::Agent] {
        let rights = granted(installed, account);
        let idle = || -> Vec<Right> {
            let (used, refused) = installed.audited(account);
            assert_eq!(refused, [""; 0], "{account:?} needs more than it has");
            let is_idle = |right: &Right| !used.iter().any(|used| right.allows(used));
            rights.iter().filter(|right| is_idle(right)).cloned().collect()
        };
        // A watch without events is recorded when it ends.
        let ended = tokio::time::timeout(
            Duration::from_secs(20),
            eventually(|| idle().is_empty().then_some(())),
        );
        let _ = ended.await;
        let idle = idle();
        assert!(idle.is_empty(), "{account:?} has what it does not use: {idle:#?}");
    }
}

/// Lets the agent of a node apply a declaration, which a trial pod proves. The test sets the pod's
/// status in place of the kubelet. The Node is deleted at the end.
async fn a_declaration_reaches_a_node(installed: &Installed) {
    let cluster = &installed.cluster;
    add_default_account(cluster, TRIAL);
    let mut workload = pod();
    workload["spec"]["containers"][0]["image"] = "busybox:1.36".into();
    let workload = cluster.request("POST", PODS, Some(&workload));
    let served = Arc::new(Mutex::new(BTreeSet::from([INDEX])));
    let mirror = mirror(&served).await;
    let keys = declared(&mirror.domain, &mirror.authority);
    cluster.declare(JET_SECRETS, "registry-info", &keys);

    // The boot ID of the Node is that of this machine, which the agent reads.
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    add_node(cluster, "a", "containerd://2.4.1", &json!({ "bootID": boot.trim() }));
    let agent_pod = add_agent(cluster, "a");
    let kubeconfig = installed.kubeconfig_of_agent(&agent_pod);
    let host = mk_host(&config_with_path());
    let mut agent = agent_of("a", host.path(), &kubeconfig);
    agent.start().unwrap();
    let ready = json!({ "status": {
        "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }],
    } });
    let status = format!("/api/v1/namespaces/{AGENTS}/pods/agent-a/status");
    cluster.request("PATCH", &status, Some(&ready));

    let tried = |it: &NodeDeclaration| it.trial.as_ref().is_some_and(|it| it.nodes.contains("a"));
    let number = until_stored(cluster, tried).await.trial.unwrap().revision.number;
    pulled(cluster, number, "a", INDEX).await;
    until_verified(cluster, number).await;
    ended(cluster, number, "a").await;
    let hosts = host.path().join("root/etc/containerd/certs.d/docker.io/hosts.toml");
    assert!(fs::read_to_string(hosts).unwrap().contains(&mirror.domain));
    // An agent reads the declaration once more before it ends.
    agent.stop().unwrap();
    cluster.request("DELETE", "/api/v1/nodes/a", None);
    eventually(|| cluster.get(&format!("{NODE_MIRRORS}/a")).is_none().then_some(())).await;
    cluster.kill(PODS, &workload);
}

fn pull_secret(cluster: &TestCluster) -> Option<Value> {
    cluster.get(&format!("{PULL_SECRETS}/image-swap-pull"))
}

/// Asserts that a swapped pod brings the pull Secret to its namespace, and that the Secret is
/// deleted after the pod.
async fn a_pull_secret_comes_and_goes(cluster: &TestCluster) {
    let stored = cluster.request("POST", PODS, Some(&pod()));
    eventually(|| pull_secret(cluster)).await;
    cluster.kill(PODS, &stored);
    eventually(|| pull_secret(cluster).is_none().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn chart_permissions_are_sufficient_and_used() {
    let installed = Installed::with(VALUES).await;
    works(&installed, async |cluster, _, _| a_pull_secret_comes_and_goes(cluster).await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn disabled_pull_secrets_are_removed_after_their_pods() {
    let values = format!("{VALUES}managePullSecrets: false\n");
    let installed = Installed::with(&values).await;
    works(&installed, async |cluster, controller, _| {
        let stored = cluster.request("POST", PODS, Some(&pod()));
        assert_eq!(image(&stored), SWAPPED);
        let spec = &stored["spec"];
        assert!(spec["imagePullSecrets"].is_null(), "{spec}");
        // A former version left the Secret, and a pod refers to it.
        let mut user = pod();
        user["spec"]["imagePullSecrets"] = json!([{ "name": "image-swap-pull" }]);
        let user = cluster.request("POST", PODS, Some(&user));
        let anchor = cluster.get(&format!("{ANCHORS}/image-swap")).unwrap();
        let old = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {
                "name": "image-swap-pull", "labels": { "image-swap.io/managed-by": "image-swap" },
                "ownerReferences": [{
                    "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                    "name": "image-swap", "uid": anchor["metadata"]["uid"],
                }],
            },
        });
        cluster.request("POST", PULL_SECRETS, Some(&old));
        let owned = |secret: &Value| !secret["metadata"]["ownerReferences"].is_null();
        eventually(|| pull_secret(cluster).filter(|it| !owned(it))).await;
        cluster.kill(PODS, &user);
        eventually(|| pull_secret(cluster).is_none().then_some(())).await;
        assert!(!controller.report.borrow().pull_secrets.kept);
    })
    .await;
}

/// Returns a Secret such as cert-manager's, with a certificate of `authority` for the Service.
fn company_tls(authority: &Authority) -> Value {
    let identity = authority.server(&["image-swap-admission.image-swap-system.svc"]).unwrap();
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": { "name": "company-tls" },
        "stringData": {
            "tls.crt": identity.certificate, "tls.key": identity.key,
            "ca.crt": authority.certificate(),
        },
    })
}

/// Returns the CA bundle of the registration, PEM.
fn trusted(cluster: &TestCluster) -> String {
    let registration = cluster.registration().unwrap();
    let bundle = registration["webhooks"][0]["clientConfig"]["caBundle"].as_str().unwrap();
    String::from_utf8(STANDARD.decode(bundle).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn certificate_of_another_issuer_is_followed() {
    let values = format!("{VALUES}tls: {{existingSecret: company-tls}}\n");
    let installed = Installed::with(&values).await;
    let [first, second] = ["first", "second"].map(|name| Authority::new(name).unwrap());
    installed.cluster.request("POST", SECRETS, Some(&company_tls(&first)));
    works(&installed, async |cluster, _, replica| {
        a_pull_secret_comes_and_goes(cluster).await;
        assert_eq!(trusted(cluster).trim(), first.certificate().trim());

        // Another authority renews the certificate.
        cluster.request("PUT", &format!("{SECRETS}/company-tls"), Some(&company_tls(&second)));
        until(&mut replica.certificates(), |count| *count >= 2).await;
        eventually(|| trusted(cluster).contains(second.certificate().trim()).then_some(())).await;
        let dry = format!("{PODS}?dryRun=All");
        let created = || cluster.control_plane.create(&dry, &pod()).ok();
        eventually(|| created().filter(|pod| image(pod) == SWAPPED)).await;

        for name in ["image-swap-ca", "image-swap-tls"] {
            assert!(cluster.get(&format!("{SECRETS}/{name}")).is_none(), "{name}");
        }
    })
    .await;
}

/// Returns the registration of a program that is gone.
fn dead_imageswap() -> Value {
    webhook_configuration("apps", "imageswap", "", "v1")
}
