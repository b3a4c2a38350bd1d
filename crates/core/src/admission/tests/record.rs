//! The annotation with the original images.

use crate::labels;
use serde_json::{Value, json};

use super::{create, leaves, mk_pod, mk_recorded_pod};

/// The record of `nginx` in the container `app`.
const RECORD: &str = r#"{"app":"nginx","swapped:app":"e4eff381"}"#;

// guarantee: 2a
#[test]
fn second_review_changes_nothing() {
    let once = create(&mk_pod(&[("app", "nginx"), ("side", "quay.io/a/b"), ("cache", "redis")]));
    assert_eq!(once.record(), json!({"app": "nginx", "cache": "redis"}));
    leaves(&once.object);
}

// guarantee: 2b
#[test]
fn only_one_key_of_annotations_is_set() {
    for annotations in [json!({}), json!({"a/b": "c"}), json!({labels::ORIGINAL_IMAGES: null})] {
        let mut pod = mk_pod(&[("app", "nginx")]);
        pod["metadata"]["annotations"] = annotations;
        let answer = create(&pod);
        assert_eq!(
            answer.patch[1],
            json!({
                "op": "add",
                "path": "/metadata/annotations/image-swap.io~1original-images",
                "value": RECORD,
            })
        );
    }
}

#[test]
fn null_annotations_are_replaced_by_a_map() {
    let mut pod = mk_pod(&[("app", "nginx")]);
    pod["metadata"]["annotations"] = Value::Null;
    assert_eq!(
        create(&pod).object["metadata"]["annotations"],
        json!({labels::ORIGINAL_IMAGES: RECORD})
    );
}

// guarantee: 2b
#[test]
fn malformed_annotations_are_not_overwritten() {
    for (path, odd) in [("metadata", json!("odd")), ("annotations", json!(["odd"]))] {
        let mut pod = mk_pod(&[("app", "nginx")]);
        if path == "metadata" {
            pod["metadata"] = odd;
        } else {
            pod["metadata"]["annotations"] = odd;
        }
        let answer = create(&pod);
        assert_eq!(answer.object["metadata"], pod["metadata"]);
        assert_eq!(answer.image("app"), "h.example/d/library/nginx");
    }
}

#[test]
fn correct_entry_of_copied_manifest_is_kept() {
    let pod = mk_recorded_pod(
        &[("app", "h.example/d/library/nginx"), ("new", "redis")],
        &json!({"app": "nginx"}),
    );
    let answer = create(&pod);
    assert_eq!(answer.record(), json!({"app": "nginx", "new": "redis"}));
    assert_eq!(answer.patch[1]["op"], "replace");
}

#[test]
fn entry_that_contradicts_rules_is_dropped() {
    // Records of another image, of a removed container, of an unswapped image, and of an empty
    // one.
    let originals = json!({
        "app": "redis",
        "gone": "nginx",
        "plain": "nginx",
        "number": 7,
        "invalid": "a/UPPER",
    });
    let pod = mk_recorded_pod(
        &[
            ("app", "h.example/d/library/nginx"),
            ("plain", "quay.io/a/b"),
            ("number", "quay.io/a/b"),
        ],
        &originals,
    );
    let answer = create(&pod);
    assert_eq!(answer.record(), Value::Null);
    assert_eq!(
        answer.patch,
        [json!({"op": "remove", "path": "/metadata/annotations/image-swap.io~1original-images"})]
    );
}

#[test]
fn invalid_record_stays_until_an_image_is_swapped() {
    for text in ["", "not json", "[]", "{\"app\":", "{} {}", "{\"app\":\"nginx\"} x"] {
        let mut pod = mk_pod(&[("app", "quay.io/a/b")]);
        pod["metadata"]["annotations"] = json!({labels::ORIGINAL_IMAGES: text});
        leaves(&pod);
        pod["spec"]["containers"][0]["image"] = json!("nginx");
        let answer = create(&pod);
        assert_eq!(answer.record(), json!({"app": "nginx"}));
        assert_eq!(answer.patch[1]["op"], "replace");
    }
}

#[test]
fn equal_record_in_other_spelling_is_kept() {
    let mut pod = mk_pod(&[("app", "h.example/d/library/nginx")]);
    for text in [r#" { "app" : "nginx" } "#, r#"{"app":"redis","\u0061pp":"n\u0067inx"}"#] {
        pod["metadata"]["annotations"] = json!({labels::ORIGINAL_IMAGES: text});
        leaves(&pod);
    }
}

#[test]
fn empty_record_is_kept() {
    leaves(&mk_recorded_pod(&[("app", "quay.io/a/b")], &json!({})));
}

/// Returns a pod whose annotations take `len` bytes, keys included.
fn mk_annotated_pod(len: usize, filler: &str) -> Value {
    let mut pod = mk_pod(&[("app", "nginx")]);
    let value = filler.repeat(len - "a/b".len());
    pod["metadata"]["annotations"] = json!({"a/b": value});
    pod
}

/// Fills the annotations up to the API server's limit of 256 KiB, keys and values.
#[test]
fn record_beyond_size_limit_is_left_out() {
    let record = labels::ORIGINAL_IMAGES.len() + RECORD.len();
    // In JSON the second filler takes two bytes a character.
    for filler in ["a", "\""] {
        let room = 262_144 - record;
        let fits = create(&mk_annotated_pod(room, filler));
        assert_eq!(fits.record(), json!({"app": "nginx"}));
        let too_large = create(&mk_annotated_pod(room + 1, filler));
        assert_eq!(too_large.record(), Value::Null);
        assert_eq!(too_large.image("app"), "h.example/d/library/nginx");
        assert_eq!(too_large.changed, 1);
        leaves(&too_large.object);
    }
}

#[test]
fn stale_record_is_removed_without_room_for_another() {
    let mut pod = mk_annotated_pod(262_144 - 40, "a");
    pod["metadata"]["annotations"][labels::ORIGINAL_IMAGES] = json!(r#"{"gone":"a"}"#);
    let answer = create(&pod);
    assert_eq!(answer.record(), Value::Null);
    assert_eq!(answer.image("app"), "h.example/d/library/nginx");
    leaves(&answer.object);
}
