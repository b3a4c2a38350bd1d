//! Updates of stored pods: only their owners restart them.

use serde_json::{Value, json};

use super::{
    Mode, admit_with, create, mk_container, mk_pod, mk_recorded_pod, mk_review, rules, update,
};
use crate::rule::RuleSet;

/// Returns a running pod that was swapped by a former declaration.
fn mk_old_pod() -> Value {
    mk_recorded_pod(&[("app", "old.example/d/library/nginx:1")], &json!({"app": "nginx:1"}))
}

// guarantee: 2c
#[test]
fn update_of_other_fields_gets_no_patch() {
    let old = mk_pod(&[("app", "nginx:1")]);
    let mut new = old.clone();
    new["metadata"]["labels"] = json!({"new": "label"});
    let answer = update(&new, &old);
    assert_eq!(answer.patch, [] as [Value; 0]);
    assert_eq!(answer.decisions, Value::Null, "nothing was considered");
    assert_eq!(answer.tally.iter().count(), 0);
}

#[test]
fn changed_image_is_swapped_and_recorded() {
    let old = create(&mk_pod(&[("app", "nginx:1"), ("side", "redis:7")])).object;
    let mut new = old.clone();
    new["spec"]["containers"][0]["image"] = json!("nginx:2");
    let answer = update(&new, &old);
    assert_eq!(answer.image("app"), "h.example/d/library/nginx:2");
    assert_eq!(answer.image("side"), "h.example/d/library/redis:7");
    assert_eq!(answer.record(), json!({"app": "nginx:2", "side": "redis:7"}));
    assert_eq!(answer.decisions.as_object().unwrap().len(), 1, "only what differs is considered");
    assert_eq!(update(&answer.object, &old).patch, [] as [Value; 0]);
}

// guarantee: 2c
#[test]
fn rule_change_and_repeated_apply_restart_nothing() {
    let old = mk_old_pod();
    let mut applied = old.clone();
    applied["spec"]["containers"][0]["image"] = json!("nginx:1");
    let answer = update(&applied, &old);
    assert_eq!(answer.object, old);
    assert_eq!(
        answer.decisions,
        json!({"app": {
            "from": "nginx:1",
            "to": "old.example/d/library/nginx:1",
            "reason": "kept",
        }})
    );
    assert_eq!(answer.changed, 1);
}

// guarantee: 2c
#[test]
fn replaced_manifest_gets_the_record_back() {
    let answer = update(&mk_pod(&[("app", "nginx:1")]), &mk_old_pod());
    assert_eq!(answer.image("app"), "old.example/d/library/nginx:1");
    assert_eq!(answer.record(), json!({"app": "nginx:1"}));
    assert_eq!(update(&answer.object, &mk_old_pod()).patch, [] as [Value; 0]);
}

#[test]
fn another_image_is_swapped_by_present_rules() {
    let answer = update(&mk_pod(&[("app", "nginx:2")]), &mk_old_pod());
    assert_eq!(answer.image("app"), "h.example/d/library/nginx:2");
    assert_eq!(answer.record(), json!({"app": "nginx:2"}));
}

#[test]
fn record_of_unswapped_image_is_dropped() {
    let mut new = mk_old_pod();
    new["spec"]["containers"][0]["image"] = json!("quay.io/a/b");
    let answer = update(&new, &mk_old_pod());
    assert_eq!(answer.image("app"), "quay.io/a/b");
    assert_eq!(answer.record(), Value::Null);
    assert_eq!(answer.object["metadata"]["annotations"], json!({"other": "kept"}));
}

#[test]
fn stale_record_keeps_no_image() {
    // A user set redis while no webhook was registered; the record still contains nginx.
    let old = mk_recorded_pod(&[("app", "redis:7")], &json!({"app": "nginx:1"}));
    let answer = update(&mk_pod(&[("app", "nginx:1")]), &old);
    assert_eq!(answer.image("app"), "h.example/d/library/nginx:1");
    assert_eq!(answer.reason("app"), "rule");
}

#[test]
fn exact_target_with_another_name_is_kept() {
    let old = mk_recorded_pod(&[("app", "h.example/special:2")], &json!({"app": "nginx:1"}));
    assert_eq!(update(&mk_pod(&[("app", "nginx:1")]), &old).image("app"), "h.example/special:2");
}

#[test]
fn containers_are_matched_by_name() {
    let old = mk_recorded_pod(
        &[("a", "old.example/x/a:1"), ("b", "old.example/x/b:1")],
        &json!({"a": "gcr.io/x/a:1", "b": "gcr.io/x/b:1"}),
    );
    let new = mk_pod(&[("b", "gcr.io/x/b:1"), ("c", "gcr.io/x/c:1"), ("a", "old.example/x/a:1")]);
    let answer = update(&new, &old);
    assert_eq!(answer.image("b"), "old.example/x/b:1");
    assert_eq!(answer.image("c"), "h.example/g/x/c:1");
    assert_eq!(answer.image("a"), "old.example/x/a:1");
    assert_eq!(answer.decisions["a"], Value::Null);
    assert_eq!(
        answer.record(),
        json!({"a": "gcr.io/x/a:1", "b": "gcr.io/x/b:1", "c": "gcr.io/x/c:1"})
    );
}

// guarantee: 2c
#[test]
fn init_containers_are_compared_with_init_containers() {
    let mut old = mk_pod(&[("app", "nginx:1")]);
    old["spec"]["initContainers"] = json!([mk_container("init", "busybox:1")]);
    let mut new = old.clone();
    new["spec"]["initContainers"][0]["image"] = json!("busybox:2");
    let answer = update(&new, &old);
    assert_eq!(answer.image("init"), "h.example/d/library/busybox:2");
    assert_eq!(answer.image("app"), "nginx:1", "what runs is not touched");
}

/// Returns a pod with a volume that has this image.
fn mk_pod_with_volume(image: &str) -> Value {
    let mut pod = mk_pod(&[("app", "nginx:1")]);
    pod["spec"]["volumes"] = json!([
        {"name": "config", "configMap": {"name": "app"}},
        {"name": "model", "image": {"reference": image, "pullPolicy": "IfNotPresent"}},
    ]);
    pod
}

// guarantee: 2c
#[test]
fn repeated_apply_keeps_the_image_of_a_volume() {
    let manifest = mk_pod_with_volume("gcr.io/a/model:1");
    let stored = create(&manifest).object;
    let swapped = "h.example/g/a/model:1";
    assert_eq!(stored["spec"]["volumes"][1]["image"]["reference"], swapped);
    for keeps_annotations in [true, false] {
        let mut applied = manifest.clone();
        if keeps_annotations {
            applied["metadata"] = stored["metadata"].clone();
        }
        let answer = update(&applied, &stored);
        assert_eq!(answer.object, stored);
        assert_eq!(answer.reason("volume:model"), "kept");
        assert_eq!(update(&answer.object, &stored).patch, [] as [Value; 0]);
        // Other rules, or none.
        for list in ["", "gcr.io::new.example/x"] {
            let request = mk_review("UPDATE", &applied, &stored);
            assert_eq!(admit_with(&request, &rules(list), Mode::Enforce).object, stored, "{list}");
        }
    }
}

#[test]
fn volume_without_record_is_kept_by_rules() {
    let manifest = mk_pod_with_volume("gcr.io/a/model:1");
    let mut stored = create(&manifest).object;
    stored["metadata"].as_object_mut().unwrap().remove("annotations");
    let answer = update(&manifest, &stored);
    assert_eq!(answer.object["spec"], stored["spec"]);
}

#[test]
fn volume_of_a_disabled_pod_is_kept() {
    let manifest = mk_pod_with_volume("gcr.io/a/model:1");
    let mut stored = create(&manifest).object;
    stored["metadata"]["labels"] = json!({"k8s.twr.io/imageswap": "disabled"});
    let mut applied = stored.clone();
    applied["spec"]["volumes"] = manifest["spec"]["volumes"].clone();
    assert_eq!(update(&applied, &stored).object, stored);
}

#[test]
fn other_changes_of_volumes_are_not_patched() {
    let stored = create(&mk_pod_with_volume("gcr.io/a/model:1")).object;
    let mut new = stored.clone();
    new["spec"]["containers"][0]["image"] = json!("nginx:2");
    new["spec"]["volumes"][1]["image"]["reference"] = json!("gcr.io/a/model:2");
    let answer = update(&new, &stored);
    assert_eq!(answer.object["spec"]["volumes"], new["spec"]["volumes"]);
    assert_eq!(answer.record(), json!({"app": "nginx:2", "volume:model": "gcr.io/a/model:1"}));
}

/// Swaps and records a pod, then sets its image without a review. A later update to the first
/// image is a change.
#[test]
fn image_set_without_a_review_is_not_kept() {
    for unreviewed in [
        // The rules swap it to another image.
        "docker.io/team-b/app:1",
        "team-b/app:1",
        "docker.io/team-a/app:2",
        // An invalid image.
        "team-b/APP",
    ] {
        let old = mk_recorded_pod(&[("app", unreviewed)], &json!({"app": "gcr.io/team-a/app:1"}));
        let mut new = old.clone();
        new["spec"]["containers"][0]["image"] = json!("gcr.io/team-a/app:1");
        let answer = update(&new, &old);
        assert_eq!(answer.image("app"), "h.example/g/team-a/app:1", "{unreviewed}");
        assert_eq!(answer.record(), json!({"app": "gcr.io/team-a/app:1"}));
        assert_eq!(update(&answer.object, &old).patch, [] as [Value; 0]);
    }
}

/// Records a checksum, which identifies the swapped image exactly.
// guarantee: 2c
#[test]
fn only_the_recorded_swapped_image_is_kept() {
    let stored = create(&mk_pod(&[("app", "gcr.io/team-a/app:1")])).object;
    let mut applied = stored.clone();
    applied["spec"]["containers"][0]["image"] = json!("gcr.io/team-a/app:1");
    // Rules that swap an image of former rules have no effect.
    for list in ["", "h.example::new.example/x", "gcr.io::h.example/other"] {
        let request = mk_review("UPDATE", &applied, &stored);
        assert_eq!(admit_with(&request, &rules(list), Mode::Enforce).object, stored, "{list}");
    }
    // Images that were set without a review, at the mirror or elsewhere.
    for unreviewed in [
        "h.example/g/team-a/app:2",
        "h.example/g/team-b/app:1",
        "old.example/team-a/app:1",
        "docker.io/team-b/app:1",
    ] {
        let mut old = stored.clone();
        old["spec"]["containers"][0]["image"] = json!(unreviewed);
        let answer = update(&applied, &old);
        assert_eq!(answer.object, stored, "{unreviewed}");
        assert_eq!(answer.reason("app"), "rule");
        assert_eq!(update(&answer.object, &old).patch, [] as [Value; 0]);
    }
}

// guarantee: 2c
#[test]
fn image_of_former_rules_is_kept() {
    for former in [
        "old.example/d/library/nginx:1",
        "old.example/nginx:1",
        "h.example/special:2",
        "docker.io/library/nginx:1",
    ] {
        let old = mk_recorded_pod(&[("app", former)], &json!({"app": "nginx:1"}));
        assert_eq!(update(&mk_pod(&[("app", "nginx:1")]), &old).image("app"), former);
    }
}

// guarantee: 2c
#[test]
fn old_image_is_kept_without_rules() {
    let request = mk_review("UPDATE", &mk_pod(&[("app", "nginx:1")]), &mk_old_pod());
    let answer = admit_with(&request, &RuleSet::default(), Mode::Enforce);
    assert_eq!(answer.image("app"), "old.example/d/library/nginx:1");
}

#[test]
fn update_without_old_object_is_a_creation() {
    let answer = update(&mk_pod(&[("app", "nginx:1")]), &Value::Null);
    assert_eq!(answer.image("app"), "h.example/d/library/nginx:1");
}

// guarantee: 2c
#[test]
fn earlier_swap_result_is_not_an_original() {
    // The old image equals the present result of the rules for the new one.
    let originals = json!({"app": "h.example/d/library/nginx"});
    let old = mk_recorded_pod(&[("app", "quay.io/a/b")], &originals);
    let once = update(&mk_pod(&[("app", "nginx")]), &old);
    assert_eq!(once.image("app"), "h.example/d/library/nginx");
    assert_eq!(once.record(), json!({"app": "nginx"}));
    assert_eq!(update(&once.object, &old).patch, [] as [Value; 0]);
    // A repeated apply contains the same record as the old pod, so no container restarts.
    let mut applied = old.clone();
    applied["spec"]["containers"][0]["image"] = json!("h.example/d/library/nginx");
    assert_eq!(update(&applied, &old).object, old);
}
