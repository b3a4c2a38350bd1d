//! Pods of operators that compare them, and placeholders of injectors.

use serde_json::{Value, json};

use super::{
    Answer, ImageOutcome, Mode, RULES, Settings, admit_with_settings, create, leaves, mk_pod,
    mk_recorded_pod, mk_review, pull_secret, rules, update,
};
use crate::workload::exempt::Exemptions;

/// Returns a pod with this owner.
fn mk_owned(api_version: &str, kind: &str) -> Value {
    let mut pod = mk_pod(&[("app", "nginx"), ("side", "redis")]);
    pod["metadata"]["ownerReferences"] = json!([
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "other", "uid": "1"},
        {"apiVersion": api_version, "kind": kind, "name": "pg", "uid": "2", "controller": true},
    ]);
    pod
}

fn mk_labelled(labels: &Value) -> Value {
    let mut pod = mk_pod(&[("app", "nginx")]);
    pod["metadata"]["labels"] = labels.clone();
    pod
}

#[test]
fn pod_of_an_operator_is_exempt() {
    let answer = leaves(&mk_owned("postgresql.cnpg.io/v1", "Cluster"));
    assert_eq!(answer.reason("app"), "exempt: owned by a CloudNativePG Cluster");
    assert_eq!(answer.tally.of(ImageOutcome::Exempt), 2);
    assert_eq!(create(&mk_owned("apps/v1", "ReplicaSet")).changed, 2);
    assert_eq!(create(&mk_owned("postgresql.cnpg.io/v1", "Pooler")).changed, 2);
}

#[test]
fn pod_with_label_of_operator_is_exempt() {
    let answer = leaves(&mk_labelled(&json!({"application": "spilo", "team": "a"})));
    assert!(answer.reason("app").starts_with("exempt: labelled application=spilo"));
    assert_eq!(create(&mk_labelled(&json!({"application": "shop"}))).changed, 1);
}

#[test]
fn exempt_pod_gets_no_secret_or_record() {
    let settings = pull_secret::settings("");
    let mut pod = mk_owned("operators.coreos.com/v1alpha1", "CatalogSource");
    pod["metadata"]["annotations"] = json!({"image-swap.io/original-images": "{\"gone\":\"a\"}"});
    let request = mk_review("CREATE", &pod, &Value::Null);
    assert_eq!(admit_with_settings(&request, &rules(RULES), &settings).patch, [] as [Value; 0]);
}

#[test]
fn opt_out_label_precedes_an_exemption() {
    let mut pod = mk_owned("postgresql.cnpg.io/v1", "Cluster");
    pod["metadata"]["labels"] = json!({"k8s.twr.io/imageswap": "disabled"});
    assert_eq!(leaves(&pod).reason("app"), "disabled");
}

#[test]
fn only_the_placeholder_of_istio_is_exempt() {
    for (container, metadata) in [
        ("istio-proxy", json!({})),
        ("gateway", json!({"annotations": {"inject.istio.io/templates": "gateway"}})),
        ("gateway", json!({"labels": {"sidecar.istio.io/inject": "true"}})),
        ("gateway", json!({"labels": {"istio.io/rev": "canary"}})),
    ] {
        let mut pod = mk_pod(&[(container, "auto"), ("app", "nginx")]);
        pod["metadata"] = metadata.clone();
        let answer = create(&pod);
        assert_eq!(answer.image(container), "auto", "{metadata}");
        assert_eq!(answer.reason(container), "exempt: placeholder that Istio replaces");
        assert_eq!(answer.image("app"), "h.example/d/library/nginx");
        leaves(&answer.object);
        // The injector replaces the placeholder, and the API server calls the webhook again.
        let mut injected = answer.object;
        injected["spec"]["containers"][0]["image"] = json!("docker.io/istio/proxyv2:1.24.0");
        assert_eq!(create(&injected).image(container), "h.example/d/istio/proxyv2:1.24.0");
    }
    assert_eq!(create(&mk_pod(&[("app", "auto")])).image("app"), "h.example/d/library/auto");
}

fn created_with(exemptions: Exemptions, pod: &Value) -> Answer {
    let settings = Settings { exemptions, ..super::settings(Mode::Enforce) };
    admit_with_settings(&mk_review("CREATE", pod, &Value::Null), &rules(RULES), &settings)
}

#[test]
fn rows_are_added_and_built_in_rows_disabled() {
    let own = || {
        Exemptions::none().with(
            ["Database.example.org".parse().unwrap()],
            ["tier".parse().unwrap(), "app=keep".parse().unwrap()],
            ["redis".parse().unwrap(), "app=nginx:2".parse().unwrap()],
        )
    };
    let cluster = mk_owned("postgresql.cnpg.io/v1", "Cluster");
    assert_eq!(created_with(Exemptions::none(), &cluster).changed, 2);
    assert_eq!(created_with(own(), &cluster).image("app"), "h.example/d/library/nginx");
    assert_eq!(created_with(own(), &cluster).image("side"), "redis");
    let database = mk_owned("example.org/v1", "Database");
    assert_eq!(
        created_with(own(), &database).reason("app"),
        "exempt: owned by a Database.example.org"
    );
    for (labels, changed) in [
        (json!({"tier": "any"}), 0),
        (json!({"app": "keep"}), 0),
        (json!({"app": "swap"}), 1),
        (json!({"application": "spilo"}), 1),
    ] {
        assert_eq!(created_with(own(), &mk_labelled(&labels)).changed, changed, "{labels}");
    }
    let pod = mk_pod(&[("app", "nginx:2"), ("other", "nginx:2")]);
    let answer = created_with(own(), &pod);
    assert_eq!(answer.image("app"), "nginx:2");
    assert_eq!(answer.image("other"), "h.example/d/library/nginx:2");
}

/// Extends the list of exemptions after the pod was swapped.
// guarantee: 2c
#[test]
fn repeated_apply_of_newly_exempt_pod_keeps_images() {
    let mut old =
        mk_recorded_pod(&[("app", "h.example/d/library/nginx:1")], &json!({"app": "nginx:1"}));
    old["metadata"]["labels"] = json!({"app": "aerospike-cluster"});
    let mut applied = old.clone();
    applied["spec"]["containers"][0]["image"] = json!("nginx:1");
    assert_eq!(update(&applied, &old).object, old);
    applied["spec"]["containers"][0]["image"] = json!("nginx:2");
    let answer = update(&applied, &old);
    assert_eq!(answer.image("app"), "nginx:2");
    assert_eq!(answer.record(), Value::Null);
}
