//! Mode `audit`, and the modes' names.

use serde_json::{Value, json};

use super::{Mode, RULES, ask_with, mk_pod, mk_review, rules};

#[test]
fn audit_patches_nothing_warns_nobody_and_tells_what_it_would_do() {
    let pod = mk_pod(&[("app", "nginx"), ("bad", "a/UPPER"), ("other", "quay.io/a/b")]);
    let request = mk_review("CREATE", &pod, &Value::Null);
    let answer = ask_with(&request, &rules(RULES), Mode::Audit);
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
fn a_mode_is_read_as_it_is_printed() {
    for mode in [Mode::Enforce, Mode::Audit] {
        assert_eq!(mode.to_string().parse(), Ok(mode));
    }
    assert_eq!(
        "Audit".parse::<Mode>().unwrap_err().to_string(),
        "expected 'enforce' or 'audit', found 'Audit'"
    );
}
