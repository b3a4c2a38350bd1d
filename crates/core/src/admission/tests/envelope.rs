//! The review around the request: rejected bodies, and distinguished ones.

use serde_json::{Value, json};

use super::{Mode, RULES, mk_pod, mk_review, review, rules, settings};
use crate::rule::RuleSet;

fn refused(body: &[u8]) -> String {
    review(body, &RuleSet::default(), &settings(Mode::Enforce)).unwrap_err().to_string()
}

fn refused_without(pointer: &str, value: Value) -> String {
    let mut request = mk_review("CREATE", &mk_pod(&[]), &Value::Null);
    *request.pointer_mut(pointer).unwrap() = value;
    refused(request.to_string().as_bytes())
}

#[test]
fn invalid_json_is_rejected_with_position() {
    for (body, message) in [
        ("", "line 1, column 1: expected a value, found the end"),
        ("hello", "line 1, column 1: expected a value"),
        ("{\n \"é\" 1}", "line 2, column 6: expected ':'"),
        (
            "{\"kind\": \"Ad",
            "line 1, column 13: expected the '\"' that ends the string, found the end",
        ),
        ("{\"a\": [{}", "line 1, column 10: expected '}' or ']', found the end"),
        ("{} {}", "line 1, column 4: expected the end"),
        ("{\"a\": tru}", "line 1, column 7: expected 'true', 'false' or 'null'"),
    ] {
        assert_eq!(
            refused(body.as_bytes()),
            format!("expected an AdmissionReview, found invalid JSON: {message}")
        );
    }
}

#[test]
fn invalid_utf8_is_rejected() {
    let body = b"{\"kind\": \"Admission\xffReview\"}";
    assert!(refused(body).ends_with("line 1, column 20: expected UTF-8"));
}

#[test]
fn other_objects_are_rejected_as_reviews() {
    assert_eq!(refused(b"[]"), "expected kind AdmissionReview, found none");
    assert_eq!(
        refused_without("/kind", json!("Pod")),
        "expected kind AdmissionReview, found 'Pod'"
    );
    assert_eq!(refused_without("/kind", json!(7)), "expected kind AdmissionReview, found none");
}

#[test]
fn other_versions_are_rejected() {
    assert_eq!(
        refused_without("/apiVersion", json!("admission.k8s.io/v1beta1")),
        "expected apiVersion admission.k8s.io/v1, found 'admission.k8s.io/v1beta1'"
    );
}

// guarantee: 6b
#[test]
fn errors_quote_no_possible_secret() {
    for secret in ["pass word", &"x".repeat(100), "a\nb", "\"quoted\""] {
        let message = refused_without("/kind", json!(secret));
        assert_eq!(message, "expected kind AdmissionReview, found another value");
    }
}

#[test]
fn review_without_request_is_rejected() {
    for request in [json!(null), json!("ask"), json!([])] {
        assert_eq!(
            refused_without("/request", request),
            "'request' is missing or is not an object"
        );
    }
}

#[test]
fn request_without_uid_is_rejected() {
    for uid in [json!(null), json!(""), json!(7)] {
        assert_eq!(
            refused_without("/request/uid", uid),
            "'request.uid' is missing or is not a string"
        );
    }
}

#[test]
fn response_has_this_exact_text() {
    let request = mk_review("CREATE", &mk_pod(&[("app", "quay.io/a/b")]), &Value::Null);
    let body = request.to_string();
    let reviewed = review(body.as_bytes(), &RuleSet::default(), &settings(Mode::Enforce)).unwrap();
    assert_eq!(
        String::from_utf8(reviewed.body).unwrap(),
        concat!(
            r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","#,
            r#""response":{"uid":"705ab4f5-6393-11e8-b7cc-42010a800002","allowed":true,"#,
            r#""auditAnnotations":{"decisions":"{\"app\":{\"from\":\"quay.io/a/b\","#,
            r#"\"to\":\"quay.io/a/b\",\"reason\":\"no-rule\"}}"}}}"#,
        )
    );
}

#[test]
fn escaped_uid_is_unchanged() {
    let mut request = mk_review("CREATE", &mk_pod(&[]), &Value::Null);
    request["request"]["uid"] = json!("a\"b\\c\u{7}é");
    super::admit(&request);
}

#[test]
fn subject_has_the_fields_for_the_log() {
    let mut pod = mk_pod(&[]);
    pod["metadata"] = json!({"generateName": "web-"});
    let mut request = mk_review("CREATE", &pod, &Value::Null);
    request["request"]["name"] = json!("");
    request["request"]["dryRun"] = json!(true);
    let body = request.to_string();
    let reviewed = review(body.as_bytes(), &RuleSet::default(), &settings(Mode::Enforce)).unwrap();
    let subject = reviewed.subject;
    assert_eq!(subject.uid, "705ab4f5-6393-11e8-b7cc-42010a800002");
    assert_eq!((&*subject.namespace, &*subject.name), ("shop", ""));
    assert_eq!(subject.generate_name, "web-");
    assert_eq!((&*subject.operation, &*subject.kind), ("CREATE", "Pod"));
    assert!(subject.dry_run);
}

#[test]
fn members_may_have_any_order_and_layout() {
    let request = mk_review("CREATE", &mk_pod(&[("app", "nginx")]), &Value::Null);
    let pretty = serde_json::to_string_pretty(&request).unwrap();
    let rules = rules(RULES);
    let admit =
        |body: &str| review(body.as_bytes(), &rules, &settings(Mode::Enforce)).unwrap().body;
    assert_eq!(admit(&pretty), admit(&request.to_string()));
    // The request precedes its kind, and the object its operation.
    let reversed = format!(
        r#"{{"request":{{"object":{},"operation":"CREATE","kind":{{"kind":"Pod"}},"uid":"1"}},
            "kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}}"#,
        request["request"]["object"]
    );
    assert!(String::from_utf8(admit(&reversed)).unwrap().contains("JSONPatch"));
}

#[test]
fn escapes_in_names_and_values_are_decoded() {
    let body = br#"{"\u0061piVersion":"admission.k8s.io\/v1","kind":"\u0041dmissionReview",
        "request":{"uid":"1","kind":{"kind":"Pod"},"operation":"CREATE","object":{"sp\u0065c":{
        "containers":[{"n\u0061me":"\u0061pp","im\u0061ge":"ngin\u0078"}]}}}}"#;
    let rules = rules(RULES);
    let reviewed = review(body, &rules, &settings(Mode::Enforce)).unwrap();
    let answer: Value = serde_json::from_slice(&reviewed.body).unwrap();
    let decisions = answer["response"]["auditAnnotations"]["decisions"].as_str().unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(decisions).unwrap(),
        json!({"app": {"from": "nginx", "to": "h.example/d/library/nginx", "reason": "rule"}})
    );
}
