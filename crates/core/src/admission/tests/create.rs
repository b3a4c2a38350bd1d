//! Creation of pods.

use serde_json::json;

use super::{create, leaves, mk_container, mk_pod, swaps};

#[test]
fn image_of_declared_registry_is_swapped() {
    let answer =
        swaps(&mk_pod(&[("app", "nginx:1.27")]), "nginx:1.27", "h.example/d/library/nginx:1.27");
    assert_eq!(
        answer.patch,
        [
            json!({
                "op": "replace",
                "path": "/spec/containers/0/image",
                "value": "h.example/d/library/nginx:1.27",
            }),
            json!({
                "op": "add",
                "path": "/metadata/annotations",
                "value": {"image-swap.io/original-images": r#"{"app":"nginx:1.27","swapped:app":"5c9f772d"}"#},
            }),
        ]
    );
    assert_eq!(
        answer.decisions,
        json!({"app": {
            "from": "nginx:1.27",
            "to": "h.example/d/library/nginx:1.27",
            "reason": "rule",
        }})
    );
    assert_eq!(answer.changed, 1);
}

#[test]
fn image_without_matching_rule_is_unchanged() {
    let answer = leaves(&mk_pod(&[("app", "quay.io/team/app:1")]));
    assert_eq!(answer.reason("app"), "no-rule");
    assert_eq!(answer.changed, 0);
}

// guarantee: 2a
#[test]
fn image_below_a_target_is_unchanged() {
    assert_eq!(leaves(&mk_pod(&[("app", "h.example/d/x:1")])).reason("app"), "already-mirrored");
}

#[test]
fn images_of_all_lists_are_swapped() {
    let mut pod = mk_pod(&[("app", "nginx"), ("side", "gcr.io/a/b")]);
    pod["spec"]["initContainers"] = json!([mk_container("init", "busybox")]);
    pod["spec"]["ephemeralContainers"] = json!([mk_container("debug", "alpine")]);
    pod["spec"]["volumes"] = json!([
        {"name": "tmp", "emptyDir": {}},
        {"name": "model", "image": {"reference": "gcr.io/a/model:1", "pullPolicy": "Always"}},
    ]);
    let answer = create(&pod);
    assert_eq!(answer.image("app"), "h.example/d/library/nginx");
    assert_eq!(answer.image("side"), "h.example/g/a/b");
    assert_eq!(answer.image("init"), "h.example/d/library/busybox");
    assert_eq!(answer.image("debug"), "h.example/d/library/alpine");
    assert_eq!(
        answer.object["spec"]["volumes"][1]["image"],
        json!({"reference": "h.example/g/a/model:1", "pullPolicy": "Always"})
    );
    assert_eq!(
        answer.record(),
        json!({
            "app": "nginx",
            "side": "gcr.io/a/b",
            "init": "busybox",
            "debug": "alpine",
            "volume:model": "gcr.io/a/model:1",
        })
    );
    assert_eq!(answer.changed, 5);
    leaves(&answer.object);
}

// guarantee: 2a
#[test]
fn tags_and_digests_survive() {
    let digest = format!("sha256:{}", "0a".repeat(32));
    let image = format!("gcr.io/a/b:1@{digest}");
    swaps(&mk_pod(&[("app", &image)]), &image, &format!("h.example/g/a/b:1@{digest}"));
}

#[test]
fn null_lists_and_invalid_items_are_skipped() {
    let mut pod = mk_pod(&[("app", "nginx")]);
    pod["spec"]["initContainers"] = json!(null);
    pod["spec"]["ephemeralContainers"] = json!("none");
    pod["spec"]["volumes"] = json!([null, {"name": "v", "image": null}, {"image": {}}, 7]);
    let containers = pod["spec"]["containers"].as_array_mut().unwrap();
    containers.insert(0, json!(null));
    containers.insert(1, json!([{"image": "nginx"}]));
    containers.insert(2, json!({"name": "imageless"}));
    containers.insert(3, json!({"name": "nullish", "image": null}));
    containers.insert(4, json!({"name": "empty", "image": ""}));
    containers.insert(5, json!({"image": "redis"}));
    let answer = create(&pod);
    assert_eq!(answer.object["spec"]["containers"][5]["image"], "h.example/d/library/redis");
    assert_eq!(answer.object["spec"]["containers"][6]["image"], "h.example/d/library/nginx");
    assert_eq!(
        answer.record(),
        json!({"app": "nginx"}),
        "a container without a name has no record"
    );
    assert_eq!(answer.changed, 2);
    leaves(&answer.object);
}

#[test]
fn pod_without_metadata_or_spec_is_allowed() {
    leaves(&json!({"kind": "Pod", "apiVersion": "v1"}));
    leaves(&json!({"kind": "Pod", "apiVersion": "v1", "metadata": null, "spec": null}));
    let answer =
        create(&json!({"kind": "Pod", "spec": {"containers": [mk_container("a", "nginx")]}}));
    assert_eq!(answer.image("a"), "h.example/d/library/nginx");
    assert_eq!(answer.record(), json!({"a": "nginx"}));
    leaves(&answer.object);
}

#[test]
fn containers_with_the_same_name_are_swapped() {
    let answer = create(&mk_pod(&[("app", "nginx"), ("app", "redis"), ("app", "quay.io/a/b")]));
    assert_eq!(answer.object["spec"]["containers"][0]["image"], "h.example/d/library/nginx");
    assert_eq!(answer.object["spec"]["containers"][1]["image"], "h.example/d/library/redis");
    assert_eq!(answer.object["spec"]["containers"][2]["image"], "quay.io/a/b");
    assert_eq!(answer.record(), json!({"app": "nginx"}));
    leaves(&answer.object);
}

#[test]
fn escaped_names_are_unchanged() {
    let name = "a\"b\\c\n/~é\u{1}";
    let answer = create(&mk_pod(&[(name, "nginx")]));
    assert_eq!(answer.record(), json!({name: "nginx"}));
    assert_eq!(answer.decisions[name]["from"], "nginx");
    leaves(&answer.object);
}
