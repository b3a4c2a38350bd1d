//! Malformed requests that the API server never sends.

use serde_json::{Value, json};

use super::{Mode, RULES, ReviewError, create, mk_pod, mk_review, review, rules, settings};
use crate::rule::RuleSet;

const IMAGES_MAX: usize = 10_000;

#[test]
fn too_many_images_are_rejected() {
    let admit = |count: usize| {
        let mut pod = mk_pod(&[]);
        pod["spec"]["containers"] = json!(vec![json!({"image": "nginx"}); count]);
        let body = mk_review("CREATE", &pod, &Value::Null).to_string();
        review(body.as_bytes(), &RuleSet::default(), &settings(Mode::Enforce)).map(|_| ())
    };
    assert_eq!(admit(IMAGES_MAX), Ok(()));
    let error = admit(IMAGES_MAX + 1).unwrap_err();
    assert_eq!(error, ReviewError::TooManyImages);
    assert_eq!(error.to_string(), "expected at most 10000 images in one object, found more");
}

#[test]
fn decisions_beyond_the_limit_are_marked_truncated() {
    let names: Vec<_> = (0..2000).map(|number| format!("container-{number}")).collect();
    let containers: Vec<_> = names.iter().map(|name| (name.as_str(), "nginx")).collect();
    let answer = create(&mk_pod(&containers));
    assert_eq!(answer.changed, 2000, "all are swapped");
    assert!(answer.decisions.to_string().len() <= 64 * 1024);
    assert_eq!(answer.decisions["truncated"], true);
    assert_eq!(answer.reason("container-0"), "rule");
    assert_eq!(answer.reason("container-1999"), "none");
}

#[test]
fn one_long_decision_is_truncated() {
    let answer = create(&mk_pod(&[("app", &"x".repeat(100_000))]));
    assert_eq!(answer.decisions, json!({"truncated": true}));
}

#[test]
fn last_duplicate_member_counts() {
    let containers = |image: &str| format!(r#"[{{"name":"a","image":"{image}"}}]"#);
    let object = format!(
        r#"{{"spec":{{"containers":{old}}},
            "spec":{{"containers":{old},"initContainers":{init},"containers":{new}}}}}"#,
        old = r#"[{"image":"x"},{"image":"y"}]"#,
        init = containers("busybox"),
        new = r#"[{"name":"a","image":"redis","image":"nginx"}]"#,
    );
    let body = format!(
        r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{{"uid":"1",
            "kind":{{"kind":"Pod"}},"operation":"CREATE","object":null,"object":{object}}}}}"#
    );
    let rules = rules(RULES);
    let reviewed = review(body.as_bytes(), &rules, &settings(Mode::Enforce)).unwrap();
    assert_eq!(reviewed.changed, 2);
    let answer = String::from_utf8(reviewed.body).unwrap();
    assert!(answer.contains("library/nginx") && answer.contains("library/busybox"), "{answer}");
}

#[test]
fn deep_nesting_does_not_overflow_the_stack() {
    let deep = format!("{}{}", "[{\"a\":".repeat(100_000), "}]".repeat(100_000));
    let pod = mk_pod(&[("app", "nginx")]).to_string();
    let body = mk_review("CREATE", &json!("POD"), &Value::Null)
        .to_string()
        .replace("\"POD\"", &pod.replacen('{', &format!("{{\"status\":{deep},"), 1));
    let rules = rules(RULES);
    assert_eq!(review(body.as_bytes(), &rules, &settings(Mode::Enforce)).unwrap().changed, 1);
}
