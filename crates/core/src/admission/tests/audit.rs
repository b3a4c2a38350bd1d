//! Mode `audit`, and the names of the modes.

use serde_json::{Value, json};

use super::{Mode, RULES, admit_with, create, mk_pod, mk_recorded_pod, mk_review, rules, update};

#[test]
fn audit_mode_only_reports() {
    let pod = mk_pod(&[("app", "nginx"), ("bad", "a/UPPER"), ("other", "quay.io/a/b")]);
    let request = mk_review("CREATE", &pod, &Value::Null);
    let answer = admit_with(&request, &rules(RULES), Mode::Audit);
    assert_eq!(answer.patch, [] as [Value; 0]);
    assert_eq!(answer.warnings, [] as [&str; 0]);
    assert_eq!(answer.changed, 1);
    assert_eq!(
        answer.decisions,
        json!({
            "app": {"from": "nginx", "to": "h.example/d/library/nginx", "reason": "rule"},
            "bad": {"from": "a/UPPER", "to": "a/UPPER", "reason": "invalid-image"},
            "other": {"from": "quay.io/a/b", "to": "quay.io/a/b", "reason": "no-rule"},
        })
    );
}

#[test]
fn decisions_are_json_for_any_invalid_image() {
    let odd = "a\"b\\c\nd";
    let bad = create(&mk_pod(&[("odd", odd)])).decisions;
    assert_eq!(bad["odd"], json!({"from": odd, "to": odd, "reason": "invalid-image"}));
    let mut pod = mk_pod(&[("odd", odd)]);
    pod["metadata"]["labels"] = json!({"k8s.twr.io/imageswap": "disabled"});
    let exempt = create(&pod).decisions;
    assert_eq!(exempt["odd"], json!({"from": odd, "to": odd, "reason": "disabled"}));
    let old = mk_recorded_pod(&[("odd", "h.example/d/odd")], &json!({"odd": odd}));
    let kept = update(&mk_pod(&[("odd", odd)]), &old).decisions;
    assert_eq!(kept["odd"], json!({"from": odd, "to": "h.example/d/odd", "reason": "kept"}));
}

#[test]
fn printed_mode_is_parsed() {
    for mode in [Mode::Enforce, Mode::Audit] {
        assert_eq!(mode.to_string().parse(), Ok(mode));
    }
    assert_eq!(
        "Audit".parse::<Mode>().unwrap_err().to_string(),
        "expected 'enforce' or 'audit', found 'Audit'"
    );
}
