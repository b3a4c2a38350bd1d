//! `kubectl debug`: ephemeral containers come through a subresource.

use serde_json::{Value, json};

use super::{Answer, ask, mk_container, mk_pod, mk_review};

fn debug(pod: &Value, old: &Value) -> Answer {
    let mut request = mk_review("UPDATE", pod, old);
    request["request"]["subResource"] = json!("ephemeralcontainers");
    ask(&request)
}

fn mk_debugged(images: &[(&str, &str)]) -> Value {
    let mut pod = mk_pod(&[("app", "nginx")]);
    let containers: Vec<_> = images.iter().map(|(n, i)| mk_container(n, i)).collect();
    pod["spec"]["ephemeralContainers"] = json!(containers);
    pod
}

#[test]
fn only_the_image_of_the_new_ephemeral_container_is_patched() {
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
fn the_first_ephemeral_container_of_a_pod_is_new() {
    let answer = debug(&mk_debugged(&[("debug", "busybox")]), &mk_pod(&[("app", "nginx")]));
    assert_eq!(answer.image("debug"), "h.example/d/library/busybox");
    assert_eq!(answer.image("app"), "nginx", "what runs is not touched");
    assert_eq!(answer.record(), Value::Null);
}

#[test]
fn a_second_look_finds_nothing_to_do() {
    let old = mk_debugged(&[]);
    let once = debug(&mk_debugged(&[("debug", "busybox")]), &old);
    assert_eq!(debug(&once.object, &old).patch, [] as [Value; 0]);
}

#[test]
fn a_pod_labelled_disabled_is_debugged_with_the_image_as_written() {
    let mut pod = mk_debugged(&[("debug", "busybox")]);
    pod["metadata"]["labels"] = json!({"k8s.twr.io/imageswap": "disabled"});
    let answer = debug(&pod, &mk_debugged(&[]));
    assert_eq!(answer.patch, [] as [Value; 0]);
    assert_eq!(answer.reason("debug"), "disabled");
}
