//! Admission: an answer can be applied, touches images and their record alone,
//! and leaves nothing to do for a second one.
#![expect(clippy::expect_used, reason = "where a law does not hold, this panics")]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use image_swap_core::{
    admission::{ORIGINALS, ReviewError, Reviewed, Settings, review},
    rule::{RuleSet, map as text_of_rules},
};
use serde_json::{Map, Value, json};

use crate::{choices::Choices, map::written::Written};

/// The laws of admission, for the pods and the map that `data` makes.
///
/// # Panics
/// Where one does not hold.
pub fn admission(data: &[u8]) {
    let c = &mut Choices::new(data);
    let written = Written::new(c);
    let rules = RuleSet::new(text_of_rules::parse(&written.text, written.form).0);
    if c.one_in(8) {
        return whatever_is_json_is_read_as_such(&c.rest(), &rules);
    }
    let manifest = pod(c, &written);
    let stored = admit("CREATE", &manifest, &Value::Null, &rules);
    let applied = if c.one_in(2) { manifest } else { pod(c, &written) };
    let other_rules = Written::new(c);
    let other_rules = RuleSet::new(text_of_rules::parse(&other_rules.text, other_rules.form).0);
    let updated = admit("UPDATE", &applied, &stored, &other_rules);
    assert_eq!(updated.pointer("/spec/volumes"), applied.pointer("/spec/volumes"));
    let untouched = admit("UPDATE", &updated, &updated, &rules);
    assert_eq!(untouched, updated, "what stays the same is left alone");

    let mut body = request("UPDATE", &applied, &stored).to_string();
    c.damage(&mut body, &['"', '\\', '{', '}', '[', ']', ',', ':', ' ', '0', 'n', 'é']);
    whatever_is_json_is_read_as_such(&body, &rules);
}

fn whatever_is_json_is_read_as_such(body: &str, rules: &RuleSet) {
    let answer = review(body.as_bytes(), rules, &Settings::default());
    if serde_json::from_str::<Value>(body).is_ok() {
        assert!(!matches!(answer, Err(ReviewError::NotJson { .. })), "{body:?}: {answer:?}");
    }
}

/// The object that is stored. What is stored asks for nothing more.
fn admit(operation: &str, object: &Value, old: &Value, rules: &RuleSet) -> Value {
    let once = patched(operation, object, old, rules);
    assert_eq!(patched(operation, &once, old, rules), once, "{operation} {object} over {old}");
    once
}

fn patched(operation: &str, object: &Value, old: &Value, rules: &RuleSet) -> Value {
    let body = request(operation, object, old).to_string();
    let reviewed = review(body.as_bytes(), rules, &Settings::default());
    let Reviewed { body, changed, patched, .. } = reviewed.expect("a review");
    let answer: Value = serde_json::from_slice(&body).expect("the answer is JSON");
    let response = &answer["response"];
    assert_eq!((&response["uid"], &response["allowed"]), (&json!("u\"1"), &json!(true)));
    if let Some(decisions) = response["auditAnnotations"]["decisions"].as_str() {
        serde_json::from_str::<Map<String, Value>>(decisions).expect("the decisions are JSON");
    }
    let mut object = object.clone();
    let patch = response["patch"].as_str().map(|patch| STANDARD.decode(patch).expect("base64"));
    assert_eq!(patch.is_some(), patched);
    let Some(patch) = patch else { return object };
    let operations: Vec<Value> = serde_json::from_slice(&patch).expect("the patch is JSON");
    let paths = operations.iter().filter_map(|operation| operation["path"].as_str());
    let (images, others): (Vec<_>, Vec<_>) = paths.partition(|path| path.starts_with("/spec/"));
    assert!(images.iter().all(|path| path.ends_with("/image") || path.ends_with("/reference")));
    assert_eq!(images.len(), changed);
    assert!(others.len() <= 1 && others.iter().all(|path| path.starts_with("/metadata")));
    let patch: json_patch::Patch = serde_json::from_slice(&patch).expect("a JSON Patch");
    json_patch::patch(&mut object, &patch).expect("the patch can be applied");
    object
}

fn request(operation: &str, object: &Value, old: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u\"1",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "operation": operation,
            "object": object,
            "oldObject": old,
        },
    })
}

fn pod(c: &mut Choices<'_>, written: &Written) -> Value {
    let mut metadata = json!({"name": "p\\{"});
    match c.below(6) {
        0 | 1 => {}
        2 => metadata["annotations"] = Value::Null,
        3 => metadata["annotations"] = json!({"other": "}"}),
        4 => metadata["labels"] = json!({"k8s.twr.io/imageswap": c.of(&["enabled", "disabled"])}),
        _ => {
            let record = json!({"a": written.image(c), "volume:a": written.image(c), "z": "z"});
            metadata["annotations"] = json!({ORIGINALS: record.to_string()});
        }
    }
    let mut spec = json!({"containers": containers(c, written), "unknown": ["]", 1e3]});
    if c.one_in(2) {
        spec["initContainers"] = containers(c, written);
    }
    if c.one_in(2) {
        let name = c.of(&["a", "b"]);
        spec["volumes"] = json!([{"name": name, "image": {"reference": written.image(c)}}]);
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
}

fn containers(c: &mut Choices<'_>, written: &Written) -> Value {
    let mut containers = Vec::new();
    for _ in 0..c.below(4) {
        let policy = c.of(&["Always", "Always", "Always", "Never"]);
        let name = c.of(&["a", "b", "c", ""]);
        let image = written.image(c);
        containers.push(json!({"name": name, "image": image, "imagePullPolicy": policy}));
    }
    if c.one_in(8) { Value::Null } else { containers.into() }
}
