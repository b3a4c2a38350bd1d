//! Reviews of the controller's probe.

use serde_json::{Value, json};

use super::{Mode, mk_pod, rules, settings};
use crate::{admission::review, labels};

fn mk_probe() -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "1",
            "kind": {"group": "", "version": "v1", "kind": "ConfigMap"},
            "resource": {"group": "", "version": "v1", "resource": "configmaps"},
            "operation": "CREATE",
            "dryRun": true,
            "object": {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "n", "annotations": {labels::PROBE_REACHED: labels::NOT_REACHED}},
            },
        },
    })
}

/// Returns the patched object; `None` without a patch.
fn answered(probe: &Value, mode: Mode) -> Option<Value> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let body = probe.to_string();
    let reviewed = review(body.as_bytes(), &rules(""), &settings(mode)).unwrap();
    let answer: Value = serde_json::from_slice(&reviewed.body).unwrap();
    assert_eq!(answer["response"]["allowed"], true);
    let patch = STANDARD.decode(answer["response"]["patch"].as_str()?).unwrap();
    let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
    let mut object = probe["request"]["object"].clone();
    json_patch::patch(&mut object, &patch).unwrap();
    Some(object)
}

#[test]
fn probe_is_answered_in_every_mode() {
    for mode in [Mode::Enforce, Mode::Audit] {
        let object = answered(&mk_probe(), mode).unwrap();
        assert_eq!(object["metadata"]["annotations"][labels::PROBE_REACHED], labels::REACHED);
    }
}

#[test]
fn response_warns_that_replica_was_reached() {
    let body = mk_probe().to_string();
    let reviewed = review(body.as_bytes(), &rules(""), &settings(Mode::Enforce)).unwrap();
    let answer: Value = serde_json::from_slice(&reviewed.body).unwrap();
    assert_eq!(answer["response"]["warnings"], json!([labels::REACHED_WARNING]));
}

#[test]
fn stored_or_other_objects_are_unchanged() {
    let mut stored = mk_probe();
    stored["request"]["dryRun"] = false.into();
    let mut bare = mk_probe();
    bare["request"]["object"]["metadata"] = json!({"name": "n"});
    let mut pod = mk_probe();
    pod["request"]["kind"]["kind"] = "Pod".into();
    pod["request"]["resource"]["resource"] = "pods".into();
    pod["request"]["object"] = mk_pod(&[]);
    for probe in [stored, bare, pod] {
        assert_eq!(answered(&probe, Mode::Enforce), None, "{probe}");
    }
}
