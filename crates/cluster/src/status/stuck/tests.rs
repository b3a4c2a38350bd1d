use serde_json::{Value, json};

use super::*;

fn pod(swapped: &Value, statuses: &Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {
            "namespace": "apps", "name": "web",
            "annotations": { "image-swap.io/original-images": swapped.to_string() },
        },
        "spec": { "containers": [
            { "name": "main", "image": "h.io/d/library/nginx:1" }, { "name": "side", "image": "side" },
        ] },
        "status": { "containerStatuses": statuses },
    }))
    .unwrap()
}

fn waits(name: &str, reason: &str, message: &str) -> Value {
    json!({
        "name": name, "image": "sha256:0", "imageID": "", "ready": false, "restartCount": 0,
        "state": { "waiting": { "reason": reason, "message": message } },
    })
}

fn counted(pod: &Pod) -> StuckPods {
    let mut found = StuckPods::default();
    found.add(pod);
    found
}

#[test]
fn swapped_pod_without_image_is_named_with_reason() {
    let message = "Back-off pulling image: h.io/d/library/nginx:1: not found";
    let status = json!([waits("main", "ImagePullBackOff", message)]);
    let found = counted(&pod(&json!({ "main": "nginx:1" }), &status));
    assert_eq!(found.count, 1);
    let expected = StuckPod {
        namespace: "apps".into(),
        name: "web".into(),
        container: "main".into(),
        volume: String::new(),
        image: "h.io/d/library/nginx:1".into(),
        reason: "ImagePullBackOff".into(),
        message: message.into(),
        hint: Some("push the image to the registry".into()),
    };
    assert_eq!(found.pods, [expected]);
}

#[test]
fn image_volume_that_cannot_be_pulled_is_named() {
    let mut pod = pod(&json!({ "volume:model": "ai/model:1" }), &json!([]));
    pod.spec = serde_json::from_value(json!({
        "containers": [
            { "name": "main", "image": "side", "volumeMounts": [
                { "name": "model", "mountPath": "/model" }, { "name": "more", "mountPath": "/more" },
            ] },
            { "name": "other", "image": "h.io/d/ai/model:12" },
        ],
        "volumes": [
            { "name": "model", "image": { "reference": "h.io/d/ai/model:1" } },
            { "name": "more", "image": { "reference": "h.io/d/ai/model:10" } },
        ],
    }))
    .unwrap();
    let set = |pod: &mut Pod, status: Value| {
        pod.status = serde_json::from_value(json!({ "containerStatuses": [status] })).unwrap();
    };
    let message = "Back-off pulling image \"h.io/d/ai/model:1\": not found";
    set(&mut pod, waits("main", "ImagePullBackOff", message));
    let found = counted(&pod);
    assert_eq!(found.count, 1);
    let first = &found.pods[0];
    assert_eq!(
        (&*first.container, &*first.volume, &*first.image),
        ("main", "model", "h.io/d/ai/model:1")
    );
    // Neither the other volume nor the other container's image was swapped.
    let message = "Back-off pulling image \"h.io/d/ai/model:10\": not found";
    set(&mut pod, waits("main", "ImagePullBackOff", message));
    assert_eq!(counted(&pod).count, 0);
    assert_eq!(stuck(&pod).unwrap().volume, "more");
    set(&mut pod, waits("other", "ErrImagePull", "h.io/d/ai/model:12: not found"));
    assert_eq!(counted(&pod).count, 0);
    assert_eq!(stuck(&pod).unwrap().volume, "");
}

#[test]
fn other_pods_are_not_counted() {
    let failed = json!([waits("side", "ErrImagePull", "not found")]);
    // The failing image is not a swapped one.
    assert_eq!(counted(&pod(&json!({ "main": "nginx:1" }), &failed)).count, 0);
    let starting = json!([waits("main", "ContainerCreating", "")]);
    assert_eq!(counted(&pod(&json!({ "main": "nginx:1" }), &starting)).count, 0);
    let crashing = json!([waits("main", "CrashLoopBackOff", "")]);
    assert_eq!(counted(&pod(&json!({ "main": "nginx:1" }), &crashing)).count, 0);
    let mut unswapped = pod(&json!({}), &json!([waits("main", "ErrImagePull", "")]));
    unswapped.metadata.annotations = None;
    assert_eq!(counted(&unswapped).count, 0);
}

#[test]
fn few_of_many_pods_are_listed() {
    let mut found = StuckPods::default();
    let one = pod(&json!({ "main": "nginx" }), &json!([waits("main", "ErrImagePull", "")]));
    for _ in 0..100 {
        found.add(&one);
    }
    assert_eq!((found.count, found.pods.len()), (100, StuckPods::LISTED));
}

#[test]
fn crash_is_named_by_its_end() {
    let mut status = waits("main", "CrashLoopBackOff", "back-off 5m0s restarting");
    status["lastState"] = json!({ "terminated": { "exitCode": 1, "message": "error: no" } });
    let found = stuck(&pod(&json!({}), &json!([status]))).unwrap();
    assert_eq!(
        (found.reason.as_str(), found.message.as_str()),
        ("CrashLoopBackOff", "exit code 1: error: no")
    );
}

#[test]
fn unschedulable_pod_is_named_with_message() {
    let mut unscheduled = pod(&json!({}), &json!([]));
    unscheduled.status = serde_json::from_value(json!({ "conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/3 nodes are available",
    }] }))
    .unwrap();
    let found = stuck(&unscheduled).unwrap();
    assert_eq!(
        (found.reason.as_str(), found.message.as_str()),
        ("Unschedulable", "0/3 nodes are available")
    );
    unscheduled.status = None;
    assert_eq!(stuck(&unscheduled), None);
}

#[test]
fn refused_pods_are_named_by_deployment() {
    let deployment: Deployment = serde_json::from_value(json!({
        "metadata": { "namespace": "tools", "name": "image-swap-admission" },
        "status": { "conditions": [{
            "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
            "message": "pods is forbidden: exceeded quota",
        }] },
    }))
    .unwrap();
    let found = uncreated(&deployment).unwrap();
    assert_eq!(
        (found.name.as_str(), found.reason.as_str()),
        ("image-swap-admission", "FailedCreate")
    );
}

#[test]
fn hint_names_the_cause() {
    for (message, expected) in [
        ("failed to authorize: 401 Unauthorized", "credential"),
        ("tls: failed to verify certificate: x509: unknown authority", "trust"),
        ("dial tcp: lookup h.io: no such host", "resolve"),
        ("dial tcp 10.0.0.1:443: i/o timeout", "reach"),
        ("no match for platform in manifest: not found", "architecture"),
        ("h.io/d/nginx:1: not found", "push"),
    ] {
        assert!(hint(message).unwrap().contains(expected), "{message}: {:?}", hint(message));
    }
    assert_eq!(hint("rpc error"), None);
}

#[test]
fn message_fits_on_a_line_of_a_terminal() {
    assert_eq!(clean("a\u{1b}[2J\r\n b"), "a[2J b");
    assert_eq!(clean(&"x".repeat(MESSAGE + 1)).chars().count(), MESSAGE + 1);
}
