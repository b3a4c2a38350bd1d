//! The chart's policy for the namespace of restart pods, which are root on their nodes.

use serde_json::{Value, json};

use super::{
    VALUES,
    nodes::{add_default_account, wait_refused},
    policy::{MERGE, send},
};
use crate::{
    install::{Account, Installed, RESTART},
    test_cluster::{POLICIES, TestCluster, eventually},
};

const JSON: &str = "application/json";
const COMMAND: &str = "rc-service \"containerd\" restart > '/dev/null'";

fn pods(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods")
}

/// Returns the values of a release that restarts nodes, with [`COMMAND`].
fn rolling() -> String {
    let agent = json!({ "restart": "rolling", "restartCommand": COMMAND });
    format!("{VALUES}agent: {agent}\n")
}

/// Returns a restart pod, as the controller creates it.
fn restart_pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "restart-7-a",
            "annotations": { "image-swap.io/restart": "7" },
            "labels": {
                "app.kubernetes.io/name": "image-swap",
                "app.kubernetes.io/component": "restart",
                "app.kubernetes.io/managed-by": "image-swap",
                "image-swap.io/release": "image-swap",
                "image-swap.io/exempt": "true",
            },
        },
        "spec": {
            "nodeName": "a", "hostPID": true, "hostNetwork": true, "dnsPolicy": "Default",
            "restartPolicy": "Never", "activeDeadlineSeconds": 900,
            "tolerations": [{ "operator": "Exists" }],
            "priorityClassName": "system-node-critical",
            "automountServiceAccountToken": false, "enableServiceLinks": false,
            "terminationGracePeriodSeconds": 5,
            "imagePullSecrets": [{ "name": "image-swap-image" }],
            "securityContext": {
                "runAsUser": 0, "runAsGroup": 0, "seLinuxOptions": { "type": "spc_t" },
            },
            "containers": [{
                "name": "restart",
                "image": concat!("chart.example.org/airgap/image-swap:", env!("CARGO_PKG_VERSION")),
                "imagePullPolicy": "IfNotPresent",
                "args": [
                    "node", "restart-pod", "--root=/host", "--number=7",
                    format!("--restart-command={COMMAND}"),
                ],
                "securityContext": { "privileged": true, "readOnlyRootFilesystem": true },
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "volumeMounts": [{
                    "name": "host", "mountPath": "/host", "mountPropagation": "HostToContainer",
                }],
            }],
            "volumes": [{ "name": "host", "hostPath": { "path": "/", "type": "Directory" } }],
        },
    })
}

/// Returns `pod` with `value` at the JSON pointer `at`. Null removes the field.
fn changed(mut pod: Value, at: &str, value: Value) -> Value {
    let (parent, key) = at.rsplit_once('/').unwrap();
    let key = key.replace("~1", "/");
    let parent = pod.pointer_mut(parent).unwrap();
    match parent {
        Value::Array(items) => items.push(value),
        _ if value.is_null() => drop(parent.as_object_mut().unwrap().remove(&key)),
        _ => parent[key] = value,
    }
    pod
}

/// Changes of the metadata after which a pod is refused, each with a part of the message.
fn other_metadata() -> Vec<(&'static str, Value, &'static str)> {
    let (labels, name) = ("expected their labels", "restart-NUMBER-NODE");
    vec![
        ("/metadata/name", json!("other"), name),
        ("/metadata/name", json!("restart-8-a"), name),
        ("/metadata/annotations/image-swap.io~1restart", json!(null), labels),
        ("/metadata/annotations/image-swap.io~1restart", json!("x"), labels),
        ("/metadata/annotations/image-swap.io~1restart", json!("8"), name),
        ("/metadata/annotations/other", json!("x"), labels),
        ("/metadata/labels/image-swap.io~1exempt", json!(null), labels),
        ("/metadata/labels/image-swap.io~1release", json!("other"), labels),
        ("/metadata/labels/app.kubernetes.io~1component", json!("agent"), labels),
        ("/metadata/labels/other", json!("x"), labels),
    ]
}

/// Changes of the spec after which a pod is refused, each with a part of the message.
fn other_spec() -> Vec<(&'static str, Value, &'static str)> {
    let host = json!([{ "name": "host", "hostPath": { "path": "/etc", "type": "Directory" } }]);
    let term = json!([{ "matchExpressions": [{ "key": "k", "operator": "Exists" }] }]);
    let required = json!({ "nodeSelectorTerms": term });
    let required = json!({ "requiredDuringSchedulingIgnoredDuringExecution": required });
    let spread = json!([{
        "maxSkew": 1, "topologyKey": "k", "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": { "matchLabels": { "a": "b" } },
    }]);
    vec![
        ("/spec/nodeName", json!("b"), "restart-NUMBER-NODE"),
        ("/spec/nodeName", json!(null), "restart-NUMBER-NODE"),
        ("/spec/hostPID", json!(null), "spec.hostPID"),
        ("/spec/hostIPC", json!(true), "spec.hostIPC"),
        ("/spec/hostNetwork", json!(null), "spec.hostNetwork"),
        ("/spec/hostAliases", json!([{ "ip": "192.0.2.1", "hostnames": ["h"] }]), "spec.hostA"),
        ("/spec/hostname", json!("other"), "spec.hostname"),
        ("/spec/dnsPolicy", json!("ClusterFirst"), "spec.dnsPolicy"),
        ("/spec/dnsConfig", json!({ "nameservers": ["192.0.2.1"] }), "spec.dnsConfig"),
        ("/spec/restartPolicy", json!("Always"), "spec.restartPolicy"),
        ("/spec/activeDeadlineSeconds", json!(null), "spec.activeDeadlineSeconds"),
        ("/spec/activeDeadlineSeconds", json!(901), "spec.activeDeadlineSeconds"),
        ("/spec/tolerations", json!([]), "spec.tolerations"),
        ("/spec/priorityClassName", json!("system-cluster-critical"), "spec.priorityClassName"),
        ("/spec/automountServiceAccountToken", json!(true), "spec.automountServiceAccountToken"),
        ("/spec/serviceAccountName", json!("other"), "spec.serviceAccountName"),
        ("/spec/enableServiceLinks", json!(true), "spec.enableServiceLinks"),
        ("/spec/terminationGracePeriodSeconds", json!(3600), "spec.terminationGracePeriod"),
        ("/spec/imagePullSecrets", json!([{ "name": "other" }]), "spec.imagePullSecrets"),
        ("/spec/imagePullSecrets", json!(null), "spec.imagePullSecrets"),
        ("/spec/schedulerName", json!("other"), "spec.schedulerName"),
        ("/spec/shareProcessNamespace", json!(false), "spec.shareProcessNamespace"),
        ("/spec/nodeSelector", json!({ "a": "b" }), "spec.nodeSelector"),
        ("/spec/affinity", json!({ "nodeAffinity": required }), "spec.affinity"),
        ("/spec/topologySpreadConstraints", spread, "spec.topologySpreadConstraints"),
        ("/spec/os", json!({ "name": "linux" }), "spec.os"),
        ("/spec/securityContext/runAsUser", json!(1000), "spec.securityContext"),
        ("/spec/securityContext/seLinuxOptions", json!(null), "spec.securityContext"),
        ("/spec/securityContext/fsGroup", json!(0), "spec.securityContext"),
        ("/spec/securityContext/supplementalGroups", json!([0]), "spec.securityContext"),
        ("/spec/volumes", host, "spec.volumes"),
        ("/spec/volumes/-", json!({ "name": "e", "emptyDir": {} }), "spec.volumes"),
        ("/spec/initContainers", json!([{ "name": "i", "image": "busybox" }]), "spec.initC"),
        (
            "/spec/containers/-",
            json!({ "name": "i", "image": "busybox" }),
            "expected one container",
        ),
    ]
}

/// Changes of the container after which a pod is refused, each with a part of the message.
fn other_container() -> Vec<(&'static str, Value, &'static str)> {
    let other =
        json!([{ "name": "host", "mountPath": "/", "mountPropagation": "HostToContainer" }]);
    let hook = json!({ "postStart": { "exec": { "command": ["id"] } } });
    let probe = json!({ "exec": { "command": ["id"] } });
    let config = json!([{ "configMapRef": { "name": "other" } }]);
    let shell = json!(["node", "restart-pod", "--root=/host", "--number=7"]);
    let apply = json!(["node", "apply", "--root=/host"]);
    let command = format!("--restart-command={COMMAND}");
    let number = json!(["node", "restart-pod", "--root=/host", "--number=8", command]);
    let debug = json!("/host/etc/passwd");
    let capability = json!({ "add": ["SYS_ADMIN"] });
    let of = |at: &'static str, value: Value| {
        let field = at.split('/').next().unwrap();
        (&*format!("/spec/containers/0/{at}").leak(), value, field)
    };
    vec![
        of("name", json!("other")),
        of("image", json!("busybox")),
        of("image", json!("chart.example.org/airgap/image-swap:other")),
        of("imagePullPolicy", json!("Never")),
        of("command", json!(["/bin/sh"])),
        of("args", json!(null)),
        of("args", shell),
        of("args", apply),
        of("args", number),
        of("args/-", json!("--verbose")),
        of("env", json!([{ "name": "LD_PRELOAD", "value": "/host/x" }])),
        of("envFrom", config),
        of("workingDir", json!("/host")),
        of("ports", json!([{ "containerPort": 80, "hostPort": 80 }])),
        of("lifecycle", hook),
        of("livenessProbe", probe.clone()),
        of("readinessProbe", probe.clone()),
        of("startupProbe", probe),
        of("resources", json!({ "limits": { "memory": "1Gi" } })),
        of("stdin", json!(true)),
        of("tty", json!(true)),
        of("terminationMessagePath", debug),
        of("terminationMessagePolicy", json!("File")),
        of("volumeMounts", other),
        of("volumeMounts/0/readOnly", json!(true)),
        of("volumeMounts/0/subPath", json!("etc")),
        of("volumeMounts/0/mountPropagation", json!("Bidirectional")),
        of("securityContext/privileged", json!(false)),
        of("securityContext/readOnlyRootFilesystem", json!(null)),
        of("securityContext/capabilities", capability),
        of("securityContext/runAsUser", json!(1000)),
        of("securityContext/seccompProfile", json!({ "type": "RuntimeDefault" })),
    ]
}

/// Installs a release that restarts nodes. Returns when the API server enforces its policy.
async fn installed() -> Installed {
    let installed = Installed::with(&rolling()).await;
    let cluster = &installed.cluster;
    add_default_account(cluster, RESTART);
    enforced(cluster).await;
    installed
}

/// Waits until the API server enforces the policy.
async fn enforced(cluster: &TestCluster) {
    let dry = format!("{}?dryRun=All", pods(RESTART));
    let pod = image_swap_testkit::pod("p", &[("c", "nginx")]);
    wait_refused(async || send(&cluster.client, "POST", &dry, JSON, &pod).await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn controller_creates_restart_pods_alone() {
    let installed = installed().await;
    let cluster = &installed.cluster;
    let client = installed.client_as(Account::Controller).await;
    let path = pods(RESTART);
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "other" },
    });
    let accounts = format!("/api/v1/namespaces/{RESTART}/serviceaccounts");
    cluster.request("POST", &accounts, Some(&account));
    for (at, value, expected) in [other_metadata(), other_spec(), other_container()].concat() {
        let pod = changed(restart_pod(), at, value.clone());
        let (code, message) = send(&client, "POST", &path, JSON, &pod).await;
        assert_eq!(code, 422, "{at} {value}: {message}");
        let is_policy = message.contains("image-swap-restart accepts only restart pods");
        assert!(is_policy && message.contains(expected), "{at} {value}: {message}");
    }
    assert_eq!(cluster.get(&path).unwrap()["items"], json!([]));

    let (code, message) = send(&client, "POST", &path, JSON, &restart_pod()).await;
    assert_eq!(code, 200, "{message}");
    let stored = cluster.get(&format!("{path}/restart-7-a")).unwrap();
    assert_eq!(
        stored["spec"]["containers"][0]["image"],
        restart_pod()["spec"]["containers"][0]["image"]
    );
    assert_eq!(stored["spec"]["priority"], 2_000_001_000);
    // A longer name of a node is cut.
    let node = [&"n".repeat(63)[..]; 3].join(".");
    let mut long =
        changed(restart_pod(), "/spec/nodeName", [&node[..], &node[..60]].join(".").into());
    long["metadata"]["name"] = format!("restart-7-{node}-0123456789abcdef").into();
    // Other parts of Kubernetes may add these.
    long = changed(long, "/metadata/labels/topology.kubernetes.io~1zone", json!("z"));
    long = changed(long, "/spec/containers/0/imagePullPolicy", json!("Always"));
    let (code, message) = send(&client, "POST", &path, JSON, &long).await;
    assert_eq!(code, 200, "{message}");
    for name in [&restart_pod(), &long].map(|pod| pod["metadata"]["name"].clone()) {
        let own = format!("{path}/{}", name.as_str().unwrap());
        let options = json!({ "apiVersion": "v1", "kind": "DeleteOptions" });
        let (code, message) = send(&client, "DELETE", &own, JSON, &options).await;
        assert_eq!(code, 200, "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn other_users_create_no_pod_among_restart_pods() {
    let installed = installed().await;
    let cluster = &installed.cluster;
    let administrator = &cluster.client;
    let ordinary = image_swap_testkit::pod("restart-7-a", &[("c", "nginx")]);
    for pod in [restart_pod(), ordinary] {
        let (code, message) = send(administrator, "POST", &pods(RESTART), JSON, &pod).await;
        assert_eq!(code, 422, "{message}");
        assert!(message.contains("only the controller of image-swap"), "{message}");
    }
    for account in [Account::Admission, Account::Agent] {
        let client = installed.client_as(account).await;
        let (code, message) = send(&client, "POST", &pods(RESTART), JSON, &restart_pod()).await;
        assert_eq!(code, 403, "{account:?}: {message}");
    }
    // The policy has no effect in other namespaces. There the controller has no right.
    let (code, message) = send(administrator, "POST", &pods("apps"), JSON, &restart_pod()).await;
    assert_eq!(code, 200, "{message}");
    let controller = installed.client_as(Account::Controller).await;
    for namespace in ["apps", "kube-system"] {
        let (code, _) = send(&controller, "POST", &pods(namespace), JSON, &restart_pod()).await;
        assert_eq!(code, 403, "{namespace}");
    }
    let own = format!("{}/restart-7-a", pods("apps"));
    let label = json!({ "metadata": { "labels": { "other": "x" } } });
    assert_eq!(send(administrator, "PATCH", &own, MERGE, &label).await.0, 200);
    // Without a kubelet the API server fails, but it does not refuse.
    let exec = format!("{own}/exec?command=id&stdout=true");
    let (code, message) = send(administrator, "POST", &exec, JSON, &json!({})).await;
    assert_ne!(code, 422, "{message}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn restart_pod_stays_as_it_was_created() {
    let installed = installed().await;
    let administrator = &installed.cluster.client;
    let controller = installed.client_as(Account::Controller).await;
    let (code, message) = send(&controller, "POST", &pods(RESTART), JSON, &restart_pod()).await;
    assert_eq!(code, 200, "{message}");
    let own = format!("{}/restart-7-a", pods(RESTART));

    for request in ["exec?command=id&stdout=true", "attach?stdout=true", "portforward", "proxy"] {
        let path = format!("{own}/{request}");
        for method in ["GET", "POST"] {
            let (code, message) = send(administrator, method, &path, JSON, &json!({})).await;
            assert_eq!(code, 422, "{method} {request}: {message}");
            assert!(message.contains("are refused in image-swap-restart"), "{request}: {message}");
        }
        assert_eq!(send(&controller, "POST", &path, JSON, &json!({})).await.0, 403, "{request}");
    }
    let debug = json!({ "spec": { "ephemeralContainers": [{ "name": "d", "image": "busybox" }] } });
    let path = format!("{own}/ephemeralcontainers");
    let (code, message) = send(administrator, "PATCH", &path, MERGE, &debug).await;
    assert_eq!(code, 422, "{message}");
    assert!(message.contains("ephemeral containers are refused"), "{message}");

    for patch in [
        json!({ "metadata": { "annotations": { "image-swap.io/restart": "8" } } }),
        json!({ "metadata": { "annotations": { "other": "x" } } }),
        json!({ "metadata": { "labels": { "other": "x" } } }),
        json!({ "metadata": { "labels": null } }),
        json!({ "spec": { "activeDeadlineSeconds": 60 } }),
    ] {
        let (code, message) = send(administrator, "PATCH", &own, MERGE, &patch).await;
        assert_eq!(code, 422, "{patch}: {message}");
        assert!(message.contains("stay as they were created"), "{patch}: {message}");
    }
    let image = json!([{
        "op": "replace", "path": "/spec/containers/0/image", "value": "busybox",
    }]);
    let kind = super::policy::JSON_PATCH;
    assert_eq!(send(administrator, "PATCH", &own, kind, &image).await.0, 422);

    // Garbage collection, the kubelet, and the deletion of the pod.
    for (path, patch) in [
        (own.clone(), json!({ "metadata": { "finalizers": ["example.org/held"] } })),
        (own.clone(), json!({ "metadata": { "finalizers": null } })),
        (format!("{own}/status"), json!({ "status": { "phase": "Failed", "message": "m" } })),
    ] {
        let (code, message) = send(administrator, "PATCH", &path, MERGE, &patch).await;
        assert_eq!(code, 200, "{patch}: {message}");
    }
    let now = format!("{own}?gracePeriodSeconds=0");
    assert_eq!(send(administrator, "DELETE", &now, JSON, &json!({})).await.0, 200);
}

/// Covers a release without a pull Secret, to whose pods Kubernetes adds those of the service
/// account.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn pull_secrets_of_the_service_account_are_admitted() {
    let values = "image: {registry: r.example.org}\nagent: {restart: rolling}\n";
    let installed = Installed::with(values).await;
    let cluster = &installed.cluster;
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "default" },
        "imagePullSecrets": [{ "name": "company" }],
    });
    let accounts = format!("/api/v1/namespaces/{RESTART}/serviceaccounts");
    cluster.request("POST", &accounts, Some(&account));
    enforced(cluster).await;
    let client = installed.client_as(Account::Controller).await;
    let mut pod = changed(restart_pod(), "/spec/imagePullSecrets", json!(null));
    let container = &mut pod["spec"]["containers"][0];
    container["image"] = concat!("r.example.org/image-swap:", env!("CARGO_PKG_VERSION")).into();
    container["args"].as_array_mut().unwrap().pop();
    let (code, message) = send(&client, "POST", &pods(RESTART), JSON, &pod).await;
    assert_eq!(code, 200, "{message}");
    let stored = cluster.get(&format!("{}/restart-7-a", pods(RESTART))).unwrap();
    assert_eq!(stored["spec"]["imagePullSecrets"], json!([{ "name": "company" }]));
}

/// Requires that Kubernetes finds no expression with wrong types. It writes them into the status.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn policies_have_no_type_warning() {
    let installed = Installed::managed(&rolling()).await;
    let cluster = &installed.cluster;
    for name in ["registration", "agent", "nodes", "trial", "restart"] {
        let path = format!("{POLICIES}/image-swap-{name}");
        let checked = |it: &Value| it["status"]["typeChecking"].is_object();
        let policy = eventually(|| cluster.get(&path).filter(checked)).await;
        let warnings = &policy["status"]["typeChecking"]["expressionWarnings"];
        assert!(warnings.is_null(), "{name}: {warnings}");
    }
}
