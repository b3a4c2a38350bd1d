use serde_json::{Value, json};

use super::*;
use crate::age::{DAY, HOUR};

fn shown(status: &Value) -> String {
    let status: ReleaseStatus = serde_json::from_value(status.clone()).unwrap();
    anstream::adapter::strip_str(&text(&status)).to_string()
}

const NOW: u64 = 1_700_000_000;

fn healthy() -> Value {
    let answer = json!({
        "version": "0.1.0", "serving": true, "source": "registry-info", "hash": "0a1b2c3d4e5f6071",
        "rules": 3, "mode": "enforce", "pullSecret": true, "certificateExpires": NOW + 20 * DAY,
    });
    json!({
        "release": { "namespace": "default", "name": "image-swap" },
        "healthy": true, "problems": [], "notes": [], "unreadable": [],
        "leader": { "holder": "image-swap-controller-6f-1", "renewed": NOW - 2, "lasts": 15 },
        "report": {
            "version": "0.1.0",
            "declaration": { "source": "registry-info", "hash": "0a1b2c3d4e5f6071", "rules": 3 },
            "policy": {
                "mode": "enforce", "failurePolicy": "Fail", "registered": true, "probe": "reached",
            },
            "authority": { "notBefore": NOW, "notAfter": NOW + 364 * DAY },
            "certificate": { "notBefore": NOW, "notAfter": NOW + 20 * DAY },
            "registry": {
                "domain": "harbor.example.org", "outcome": "ok", "detail": "reachable",
                "checked": NOW - 90, "expires": NOW + 80 * DAY,
            },
            "pullSecrets": { "kept": true, "namespaces": 12 },
        },
        "replicas": {
            "wanted": 2, "ready": 2,
            "pods": [
                { "name": "image-swap-admission-a", "ready": true, "answer": answer },
                { "name": "image-swap-admission-bcd", "ready": true, "answer": answer },
            ],
        },
        "pods": [
            { "registry": "docker.io", "swapped": 120, "unswapped": 3, "outdated": 0 },
            { "registry": "harbor.example.org", "swapped": 0, "unswapped": 7, "outdated": 0 },
        ],
        "read": NOW,
    })
}

#[test]
fn healthy_release_fits_on_a_screen() {
    let shown = shown(&healthy());
    insta::assert_snapshot!("healthy", shown);
    let documented = include_str!("../../../../../../docs/cluster.md");
    assert!(documented.contains(&shown), "docs/cluster.md shows this output:\n{shown}");
}

#[test]
fn problems_are_at_the_end() {
    let mut status = healthy();
    status["problems"] = json!([
        { "code": "registry-unhealthy", "message": "the registry harbor.example.org is unauthorized: USERNAME and PASSWORD are refused" },
        { "code": "replica-behind", "message": "image-swap-admission-a serves no declaration, expected declaration 0a1b2c3d4e5f6071" },
    ]);
    status["notes"] = json!([
        "3 running pods have images that the rules would swap: image-swap swaps them when the pods are created again"
    ]);
    status["unreadable"] = json!(["nodes: cannot list nodes: nodes is forbidden (403)"]);
    status["leader"]["holder"] = "".into();
    let report = &mut status["report"];
    report["registry"]["outcome"] = "unauthorized".into();
    report["registry"]["detail"] = "USERNAME and PASSWORD are refused".into();
    report["policy"]["failurePolicy"] = "Ignore".into();
    report["policy"]["probe"] = "unreached".into();
    report["certificate"]["notAfter"] = (NOW - 3 * HOUR).into();
    report["repairs"] = 2.into();
    report["declaration"]["waits"] = json!({ "served": "9f8e7d6c5b4a3921", "rules": 2 });
    report["nodes"] = json!(["nodes must trust the authority of harbor.example.org (CA_CERT)"]);
    report["trust"] = "77aa".into();
    report["agents"] = json!({
        "nodes": 14, "applied": 1, "revision": 7, "verifiedRevision": 6, "failed": true,
        "trial": "worker-1: pull access denied", "restartsStopped": true,
        "restarts": "the restart of worker-3 failed: rolled back",
        "pending": [
            { "reason": "TrialFailed", "count": 12, "nodes": ["worker-1", "worker-2"] },
            { "reason": "RestartRequired", "count": 1, "nodes": ["worker-9"] },
        ],
    });
    status["replicas"]["ready"] = 1.into();
    status["replicas"]["pods"][0]["answer"]["hash"] = "".into();
    status["replicas"]["pods"][0]["answer"]["rules"] = 0.into();
    status["replicas"]["pods"][1]["answer"] = Value::Null;
    status["replicas"]["pods"][1]["error"] =
        "cannot query the pod through the API server: error trying to reach service (503)".into();
    status["pods"][0]["outdated"] = 3.into();
    status["registered"] = false.into();
    status["unpulled"] = json!({ "count": 6, "pods": [{
        "namespace": "apps", "name": "web-0", "image": "harbor.example.org/d/library/nginx:1.25",
        "reason": "ImagePullBackOff",
    }] });
    insta::assert_snapshot!("problems", shown(&status));
}

#[test]
fn unknown_state_is_not_shown() {
    let bare = json!({
        "release": { "namespace": "default", "name": "image-swap" }, "read": NOW,
        "problems": [{ "code": "no-leader", "message": "no controller has become leader yet" }],
    });
    insta::assert_snapshot!("unknown", shown(&bare));
}
