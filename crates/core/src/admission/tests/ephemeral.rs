//! Ephemeral containers of `kubectl debug`, which use a subresource.

use serde_json::{Value, json};

use super::{Answer, admit, mk_container, mk_pod, mk_review};

fn debug(pod: &Value, old: &Value) -> Answer {
    let mut request = mk_review("UPDATE", pod, old);
    request["request"]["subResource"] = json!("ephemeralcontainers");
    admit(&request)
}

fn mk_debugged(images: &[(&str, &str)]) -> Value {
    let mut pod = mk_pod(&[("app", "nginx")]);
    let containers: Vec<_> = images.iter().map(|(n, i)| mk_container(n, i)).collect();
    pod["spec"]["ephemeralContainers"] = json!(containers);
    pod
}

// guarantee: 2b, 2c
#[test]
fn only_new_ephemeral_containers_are_patched() {
    let old = mk_debugged(&[("first", "busybox")]);
    let new = mk_debugged(&[("first", "busybox"), ("second", "busybox")]);
    assert_eq!(
        debug(&new, &old).patch,
        [json!({
            "op": "replace",
            "path": "/spec/ephemeralContainers/1/image",
            "value": "h.example/d/library/busybox",
        })]
    );
}

#[test]
fn first_ephemeral_container_is_new() {
    let answer = debug(&mk_debugged(&[("debug", "busybox")]), &mk_pod(&[("app", "nginx")]));
    assert_eq!(answer.image("debug"), "h.example/d/library/busybox");
    assert_eq!(answer.image("app"), "nginx", "what runs is not touched");
    assert_eq!(answer.record(), Value::Null);
}

// guarantee: 2a
#[test]
fn second_review_changes_nothing() {
    let old = mk_debugged(&[]);
    let once = debug(&mk_debugged(&[("debug", "busybox")]), &old);
    assert_eq!(debug(&once.object, &old).patch, [] as [Value; 0]);
}

#[test]
fn disabled_pod_is_debugged_with_unchanged_image() {
    let mut pod = mk_debugged(&[("debug", "busybox")]);
    pod["metadata"]["labels"] = json!({"k8s.twr.io/imageswap": "disabled"});
    let answer = debug(&pod, &mk_debugged(&[]));
    assert_eq!(answer.patch, [] as [Value; 0]);
    assert_eq!(answer.reason("debug"), "disabled");
}
