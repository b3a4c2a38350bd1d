//! Pods and requests that admission does not change.

use serde_json::{Value, json};

use super::{
    ImageOutcome, RULES, Settings, admit, create, leaves, mk_pod, mk_recorded_pod, mk_review,
    review, rules, update,
};
use crate::rule::Reason;

const DISABLED: ImageOutcome = ImageOutcome::Decided(Reason::Disabled);

fn mk_labelled(value: &str) -> Value {
    let mut pod = mk_pod(&[("app", "nginx"), ("side", "redis")]);
    pod["metadata"]["labels"] = json!({"k8s.twr.io/imageswap": value});
    pod
}

// guarantee: 2b
#[test]
fn disabled_pod_is_unchanged() {
    let answer = leaves(&mk_labelled("disabled"));
    assert_eq!(answer.reason("app"), "disabled");
    assert_eq!(answer.tally.of(DISABLED), 2);
    assert_eq!(create(&mk_labelled("enabled")).changed, 2);
}

#[test]
fn opt_out_label_is_a_setting() {
    let settings = Settings { disable_label: "example.org/swap".to_owned(), ..Settings::default() };
    let rules = rules(RULES);
    let changed = |label: &str| {
        let mut pod = mk_pod(&[("app", "nginx")]);
        pod["metadata"]["labels"] = json!({label: "disabled"});
        let body = mk_review("CREATE", &pod, &Value::Null).to_string();
        review(body.as_bytes(), &rules, &settings).unwrap().changed
    };
    assert_eq!(changed("example.org/swap"), 0);
    assert_eq!(changed("k8s.twr.io/imageswap"), 1);
}

#[test]
fn record_of_disabled_pod_is_unchanged() {
    let mut pod = mk_recorded_pod(&[("app", "nginx")], &json!({"gone": "redis"}));
    pod["metadata"]["labels"] = json!({"k8s.twr.io/imageswap": "disabled"});
    leaves(&pod);
    let mut old = pod.clone();
    old["spec"]["containers"][0]["image"] = json!("h.example/d/library/nginx");
    assert_eq!(update(&pod, &old).patch, [] as [Value; 0]);
}

// guarantee: 2b
#[test]
fn mirror_pod_is_unchanged() {
    let mut pod = mk_pod(&[("app", "nginx")]);
    pod["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "5f2c"});
    assert_eq!(leaves(&pod).reason("app"), "disabled");
}

#[test]
fn container_that_never_pulls_is_unchanged() {
    let mut pod = mk_pod(&[("local", "nginx"), ("app", "nginx")]);
    pod["spec"]["containers"][0]["imagePullPolicy"] = json!("Never");
    pod["spec"]["volumes"] =
        json!([{"name": "v", "image": {"reference": "gcr.io/a/b", "pullPolicy": "Never"}}]);
    let answer = create(&pod);
    assert_eq!(answer.image("local"), "nginx");
    assert_eq!(answer.image("app"), "h.example/d/library/nginx");
    assert_eq!(answer.object["spec"]["volumes"], pod["spec"]["volumes"]);
    assert_eq!(answer.record(), json!({"app": "nginx"}));
    assert_eq!(answer.tally.of(DISABLED), 2);
}

#[test]
fn other_operations_are_allowed_unchanged() {
    let pod = mk_pod(&[("app", "nginx")]);
    for operation in ["DELETE", "CONNECT", "create", ""] {
        assert_eq!(admit(&mk_review(operation, &pod, &pod)).decisions, Value::Null, "{operation}");
    }
    assert_eq!(admit(&mk_review("DELETE", &Value::Null, &pod)).patch, [] as [Value; 0]);
}

#[test]
fn other_subresources_are_allowed_unchanged() {
    for sub_resource in ["status", "resize", "binding", "exec"] {
        let mut request = mk_review("UPDATE", &mk_pod(&[("app", "nginx")]), &Value::Null);
        request["request"]["subResource"] = json!(sub_resource);
        assert_eq!(admit(&request).decisions, Value::Null, "{sub_resource}");
    }
}

#[test]
fn other_kinds_are_allowed_unchanged() {
    let pod = mk_pod(&[("app", "nginx")]);
    let kinds = [
        json!({"group": "apps", "version": "v1", "kind": "Deployment"}),
        json!({"group": "example.org", "version": "v1", "kind": "Pod"}),
        json!({"group": "", "version": "v1", "kind": "PodTemplate"}),
    ];
    for kind in kinds {
        let mut request = mk_review("CREATE", &pod, &Value::Null);
        request["request"]["kind"] = kind;
        assert_eq!(admit(&request).decisions, Value::Null);
    }
    let mut request = mk_review("CREATE", &pod, &Value::Null);
    request["request"]["resource"] =
        json!({"group": "metrics.k8s.io", "version": "v1", "resource": "pods"});
    assert_eq!(admit(&request).decisions, Value::Null);
    request["request"]["resource"] = json!({"group": "", "version": "v1", "resource": "nodes"});
    assert_eq!(admit(&request).decisions, Value::Null);
}

#[test]
fn kind_may_be_given_by_the_object() {
    let mut request = mk_review("CREATE", &mk_pod(&[("app", "nginx")]), &Value::Null);
    for field in ["kind", "resource"] {
        request["request"].as_object_mut().unwrap().remove(field);
    }
    assert_eq!(admit(&request).changed, 1);
    request["request"]["object"]["apiVersion"] = json!("example.org/v1");
    assert_eq!(admit(&request).changed, 0);
}

#[test]
fn malformed_object_is_allowed_unchanged() {
    for object in [json!(null), json!(7), json!("pod"), json!([]), json!({})] {
        leaves(&object);
    }
}
