//! The conditions that we register (`matchConditions`), evaluated by somebody
//! else's CEL on requests written as API servers write them. The one that the
//! other tests run on is older than conditions.

use cel::{Context, Program, Value as Cel};
use image_swap_core::cluster::{
    policy::Policy,
    webhooks::{Owner, Service, Settings, desired},
};
use serde_json::{Value, json};

/// The condition of the entry `name`.
fn condition(name: &str) -> Program {
    let settings = Settings {
        name: "image-swap-admission".into(),
        release: "image-swap".into(),
        owner: Owner { name: "image-swap".into(), uid: "u".into() },
        service: Service { namespace: "n".into(), name: "s".into(), port: 443 },
        ca_bundle: String::new(),
        policy: Policy::Fail,
        timeout_seconds: 5,
        system_namespaces: vec!["kube-system".into(), "calico-system".into()],
        match_conditions: true,
        opt_in: false,
        namespace_label: "k8s.twr.io/imageswap".into(),
    };
    let entries = desired(&settings).entries;
    let entry = entries.iter().find(|entry| entry.name == name).unwrap();
    let conditions = entry.fields["matchConditions"].as_array().unwrap();
    assert_eq!(conditions.len(), 1);
    Program::compile(conditions[0]["expression"].as_str().unwrap()).unwrap()
}

fn holds(condition: &Program, namespace: &str, object: &Value, old: &Value) -> bool {
    let mut context = Context::default();
    let request = json!({ "namespace": namespace, "operation": "CREATE" });
    for (name, value) in [("request", &request), ("object", object), ("oldObject", old)] {
        context.add_variable(name, value).unwrap();
    }
    match condition.execute(&context).unwrap() {
        Cel::Bool(holds) => holds,
        other => panic!("expected true or false, found {other:?}"),
    }
}

/// A pod as the API server describes it: defaults are filled in, priority too.
fn pod(more: &Value) -> Value {
    let mut spec = json!({
        "containers": [{ "name": "main", "image": "nginx", "resources": {} }],
        "restartPolicy": "Always", "securityContext": {}, "priority": 0,
        "enableServiceLinks": true, "schedulerName": "default-scheduler",
    });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    json!({ "kind": "Pod", "apiVersion": "v1", "metadata": { "name": "p" }, "spec": spec })
}

#[test]
fn each_new_pod_is_either_ordinary_or_of_the_system() {
    let (ordinary, system) = (condition("pods.image-swap.io"), condition("system.image-swap.io"));
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
    ] {
        let pod = pod(&spec);
        assert_eq!(holds(&system, namespace, &pod, &Value::Null), is_system, "{namespace} {spec}");
        assert_eq!(
            holds(&ordinary, namespace, &pod, &Value::Null),
            !is_system,
            "{namespace} {spec}"
        );
    }
}

#[test]
fn an_update_is_asked_about_only_if_it_changes_an_image() {
    let changes = condition("updates.image-swap.io");
    let container = |name: &str, image: &str| json!({ "name": name, "image": image });
    let two =
        json!({ "initContainers": [container("init", "busybox"), container("side", "envoy")] });
    let debug = json!({ "ephemeralContainers": [container("debug", "alpine")] });
    let swapped = json!({
        "initContainers": [container("side", "envoy"), container("init", "busybox")],
    });
    let other = json!({ "containers": [container("main", "redis")] });
    let imageless = json!({ "containers": [{ "name": "main" }] });
    let labelled = {
        let mut pod = pod(&json!({}));
        pod["metadata"]["labels"] = json!({ "a": "b" });
        pod
    };
    for (new, old, is_change) in [
        (pod(&json!({})), pod(&json!({})), false),
        (labelled, pod(&json!({})), false),
        (pod(&json!({ "tolerations": [] })), pod(&json!({})), false),
        (pod(&other), pod(&json!({})), true),
        (pod(&two), pod(&two), false),
        // The order tells nothing.
        (pod(&swapped), pod(&two), false),
        (pod(&two), pod(&json!({})), true),
        (pod(&json!({})), pod(&two), false),
        // An ephemeral container comes; it stays; another one comes.
        (pod(&debug), pod(&json!({})), true),
        (pod(&debug), pod(&debug), false),
        (
            pod(&json!({
                "ephemeralContainers": [container("debug", "alpine"), container("more", "nginx")],
            })),
            pod(&debug),
            true,
        ),
        (pod(&imageless), pod(&imageless), false),
        (pod(&imageless), pod(&json!({})), true),
    ] {
        assert_eq!(holds(&changes, "apps", &new, &old), is_change, "{new}\nafter {old}");
    }
}
