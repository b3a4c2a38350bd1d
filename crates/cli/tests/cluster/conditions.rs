//! The match conditions of the registration, evaluated by the API server on dry runs.

use image_swap_core::control::{
    policy::FailurePolicy,
    webhooks::{Anchor, Service, Settings, desired, plan},
};
use image_swap_testbed::Options;
use image_swap_testkit::container;
use serde_json::{Value, json};

use crate::test_cluster::{NAMESPACE, REGISTRATIONS, TestCluster, eventually};

const ORDINARY: &str = "pods.image-swap.io";
const SYSTEM: &str = "system.image-swap.io";
const UPDATES: &str = "updates.image-swap.io";

/// Returns the registration under `Policy::Fail`. Its Service does not exist, so that every call
/// of an entry fails.
fn registration() -> Value {
    let settings = Settings {
        name: "image-swap-admission".into(),
        release: "image-swap".into(),
        owner: Anchor { name: "image-swap".into(), uid: "u".into() },
        service: Service {
            namespace: NAMESPACE.into(),
            name: "image-swap-admission".into(),
            port: 443,
        },
        ca_bundle: String::new(),
        policy: FailurePolicy::Fail,
        timeout_seconds: 5,
        system_namespaces: vec!["kube-system".into(), "calico-system".into()],
        opt_in: false,
        namespace_label: "k8s.twr.io/imageswap".into(),
        template_namespaces: Vec::new(),
    };
    plan(&desired(&settings), None).unwrap()
}

/// Registers `object` in place of the registration that is there.
fn register(cluster: &TestCluster, object: &Value) {
    let path = format!("{REGISTRATIONS}/image-swap-admission");
    if cluster.get(&path).is_some() {
        cluster.request("DELETE", &path, None);
    }
    cluster.request("POST", REGISTRATIONS, Some(object));
}

/// Returns the registration with `Fail` for the entry `name` and `Ignore` for all others.
fn failing(name: &str) -> Value {
    let mut object = registration();
    for entry in object["webhooks"].as_array_mut().unwrap() {
        let policy = if entry["name"] == name { "Fail" } else { "Ignore" };
        entry["failurePolicy"] = policy.into();
    }
    object
}

/// Sends a request and returns the name of the entry because of which it is refused.
fn refused_by(cluster: &TestCluster, method: &str, path: &str, body: &Value) -> Option<String> {
    let answer = tokio::task::block_in_place(|| {
        cluster.control_plane.request(method, path, Some(body)).unwrap()
    });
    let status: Value = serde_json::from_str(&answer.body).unwrap();
    let (_, rest) = status["message"].as_str()?.split_once("failed calling webhook \"")?;
    Some(rest.split_once('"').unwrap().0.to_owned())
}

/// Returns the name of the entry because of which a pod is refused at its creation.
fn creation_refused_by(cluster: &TestCluster, namespace: &str, spec: &Value) -> Option<String> {
    let path = format!("/api/v1/namespaces/{namespace}/pods?dryRun=All");
    refused_by(cluster, "POST", &path, &pod("new", spec))
}

/// Returns a pod whose spec has the fields `more` besides one container.
fn pod(name: &str, more: &Value) -> Value {
    let mut spec = json!({
        "automountServiceAccountToken": false,
        "containers": [container("main", "nginx")],
    });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name }, "spec": spec })
}

/// Starts a control plane with the namespaces and the priority class of the tests.
async fn set() -> TestCluster {
    let cluster = TestCluster::bare(&Options::default()).await;
    for name in ["calico-system", "kube-system-2"] {
        cluster.control_plane.create_namespace(name).unwrap();
    }
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "default" },
    });
    cluster.request("POST", "/api/v1/namespaces/kube-system/serviceaccounts", Some(&account));
    let class = json!({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
        "metadata": { "name": "high" }, "value": 1000,
    });
    cluster.request("POST", "/apis/scheduling.k8s.io/v1/priorityclasses", Some(&class));
    cluster
}

// guarantee: 4a
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn each_new_pod_matches_exactly_one_entry() {
    let cluster = set().await;
    let host_network = json!({ "hostNetwork": true });
    for (entry, matching) in [(ORDINARY, json!({})), (SYSTEM, host_network)] {
        register(&cluster, &failing(entry));
        let is_read = || creation_refused_by(&cluster, "apps", &matching).filter(|by| by == entry);
        eventually(is_read).await;
        for (namespace, spec, is_system) in [
            ("apps", json!({}), false),
            ("apps", json!({ "hostNetwork": false }), false),
            ("apps", json!({ "priorityClassName": "high" }), false),
            ("apps", json!({ "hostNetwork": false, "priorityClassName": "high" }), false),
            ("kube-system-2", json!({}), false),
            ("kube-system", json!({}), true),
            ("calico-system", json!({}), true),
            ("apps", json!({ "hostNetwork": true }), true),
            ("apps", json!({ "priorityClassName": "system-node-critical" }), true),
            ("apps", json!({ "priorityClassName": "system-cluster-critical" }), true),
            ("kube-system", json!({ "hostNetwork": true, "priorityClassName": "high" }), true),
        ] {
            let refused = creation_refused_by(&cluster, namespace, &spec);
            let expected = ((entry == SYSTEM) == is_system).then_some(entry);
            assert_eq!(refused.as_deref(), expected, "{namespace} {spec}");
        }
    }
}

// guarantee: 4a
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn ordinary_pods_are_refused_without_replicas() {
    let cluster = set().await;
    let path = "/api/v1/namespaces/apps/pods";
    let stored = cluster.request("POST", path, Some(&pod("stored", &json!({}))));
    register(&cluster, &registration());
    let is_read = || creation_refused_by(&cluster, "apps", &json!({})).filter(|by| by == ORDINARY);
    eventually(is_read).await;
    for (namespace, spec) in [
        ("kube-system", json!({})),
        ("apps", json!({ "hostNetwork": true })),
        ("apps", json!({ "priorityClassName": "system-node-critical" })),
    ] {
        let path = format!("/api/v1/namespaces/{namespace}/pods?dryRun=All");
        let created = cluster.request("POST", &path, Some(&pod("new", &spec)));
        assert_eq!(created["spec"]["containers"][0]["image"], "nginx");
    }
    let mut changed = stored;
    changed["spec"]["containers"][0]["image"] = "redis".into();
    let updated = cluster.request("PUT", &format!("{path}/stored?dryRun=All"), Some(&changed));
    assert_eq!(updated["spec"]["containers"][0]["image"], "redis");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn only_updates_that_change_images_match() {
    let cluster = set().await;
    let pods = "/api/v1/namespaces/apps/pods";
    let init = json!([container("init", "busybox"), container("side", "envoy")]);
    let debug =
        |name: &str| json!({ "name": name, "image": "alpine", "terminationMessagePolicy": "File" });
    let volume = |image: &str| json!({ "name": "model", "image": { "reference": image } });
    let empty = json!({ "name": "empty", "emptyDir": {} });
    for (name, spec) in [
        ("plain", json!({})),
        ("two", json!({ "initContainers": init })),
        ("debugged", json!({})),
        ("mounted", json!({ "volumes": [empty, volume("model:1")] })),
    ] {
        cluster.request("POST", pods, Some(&pod(name, &spec)));
    }
    let first = json!({ "spec": { "ephemeralContainers": [debug("first")] } });
    cluster.request("PATCH", &format!("{pods}/debugged/ephemeralcontainers"), Some(&first));

    register(&cluster, &failing(UPDATES));
    let refused = |path: &str, change: &Value| {
        refused_by(&cluster, "PATCH", &format!("{pods}/{path}?dryRun=All"), change)
    };
    let image = json!({ "spec": { "containers": [container("main", "redis")] } });
    eventually(|| refused("plain", &image).filter(|by| by == UPDATES)).await;
    for (path, change, is_match) in [
        ("plain", json!({}), false),
        ("plain", json!({ "metadata": { "labels": { "a": "b" } } }), false),
        ("plain", json!({ "spec": { "tolerations": [{ "operator": "Exists" }] } }), false),
        ("plain", image, true),
        ("plain", json!({ "spec": { "containers": [{ "name": "main" }] } }), true),
        ("plain", json!({ "spec": { "containers": [container("main", "nginx")] } }), false),
        ("plain", json!({ "spec": { "initContainers": init } }), true),
        ("two", json!({ "metadata": { "labels": { "a": "b" } } }), false),
        // The API server refuses another order and fewer containers in any case.
        ("two", json!({ "spec": { "initContainers": [init[1], init[0]] } }), true),
        ("two", json!({ "spec": { "initContainers": [init[0]] } }), true),
        ("two", json!({ "spec": { "initContainers": null } }), true),
        ("mounted", json!({ "metadata": { "labels": { "a": "b" } } }), false),
        ("mounted", json!({ "spec": { "volumes": [volume("model:2")] } }), true),
        ("two", json!({ "spec": { "initContainers": [init[0], container("side", "new")] } }), true),
        ("debugged", json!({ "metadata": { "labels": { "a": "b" } } }), false),
        ("debugged/ephemeralcontainers", first.clone(), false),
        (
            "debugged/ephemeralcontainers",
            json!({ "spec": { "ephemeralContainers": [debug("first"), debug("second")] } }),
            true,
        ),
        ("plain/ephemeralcontainers", first, true),
    ] {
        let expected = is_match.then_some(UPDATES);
        assert_eq!(refused(path, &change).as_deref(), expected, "{path} {change}");
    }
}

/// The API server stops the evaluation at a cost limit, and then does not call a webhook whose
/// policy is `Ignore`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn update_of_a_pod_with_many_containers_matches() {
    let cluster = set().await;
    let pods = "/api/v1/namespaces/apps/pods";
    let many = |count: usize, last: &str| -> Value {
        let image =
            |nth: usize| if nth + 1 == count { last } else { "registry.example/a/nginx:1.25" };
        (0..count).map(|nth| container(&format!("container-{nth}"), image(nth))).collect()
    };
    let count = 2_000;
    cluster.request(
        "POST",
        pods,
        Some(&pod("many", &json!({ "containers": many(count, "nginx") }))),
    );
    register(&cluster, &failing(UPDATES));
    let path = format!("{pods}/many?dryRun=All");
    let image = json!({ "spec": { "containers": many(count, "redis") } });
    let refused = |change: &Value| refused_by(&cluster, "PATCH", &path, change);
    eventually(|| refused(&image).filter(|by| by == UPDATES)).await;
    assert_eq!(refused(&json!({ "metadata": { "labels": { "a": "b" } } })), None);
}
