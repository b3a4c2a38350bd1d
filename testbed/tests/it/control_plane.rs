//! etcd and the API server.

use std::{io::Read, net::TcpListener, thread};

use image_swap_testbed::{ControlPlane, Options, or_skip};
use serde_json::{Value, json};

use crate::{Outcome, parts};

fn start() -> Result<Option<ControlPlane>, image_swap_testbed::Error> {
    or_skip(ControlPlane::start(parts(), &Options::default()))
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name },
        "spec": {
            "automountServiceAccountToken": false,
            "containers": [{ "name": "main", "image": "nginx" }],
        },
    })
}

#[test]
fn a_namespace_is_created_and_a_pod_is_admitted_in_it() -> Outcome {
    let Some(control_plane) = start()? else { return Ok(()) };
    control_plane.create_namespace("one")?;
    let stored = control_plane.create("/api/v1/namespaces/one/pods?dryRun=All", &pod("a"))?;
    assert_eq!(stored["spec"]["containers"][0]["image"], "nginx");
    assert_eq!(stored["spec"]["serviceAccountName"], "default");
    assert_eq!(control_plane.get("/api/v1/namespaces/one/pods/a")?, None);
    Ok(())
}

#[test]
fn a_pod_needs_its_service_account() -> Outcome {
    let Some(control_plane) = start()? else { return Ok(()) };
    let namespace =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "bare" } });
    control_plane.create("/api/v1/namespaces", &namespace)?;
    let answer = control_plane.request("POST", "/api/v1/namespaces/bare/pods", Some(&pod("a")))?;
    assert_eq!(answer.status, 403, "{}", answer.body);
    assert!(answer.body.contains("service account"), "{}", answer.body);
    Ok(())
}

#[test]
fn kubectl_is_the_administrator() -> Outcome {
    let Some(control_plane) = start()? else { return Ok(()) };
    let out = control_plane.kubectl().args(["auth", "can-i", "*", "*"]).output()?;
    assert_eq!(String::from_utf8(out.stdout)?.trim(), "yes");
    Ok(())
}

#[test]
fn what_was_stored_outlives_a_crash_of_the_api_server_and_a_stop_of_etcd() -> Outcome {
    let Some(mut control_plane) = start()? else { return Ok(()) };
    control_plane.create_namespace("kept")?;
    control_plane.api_server().kill()?;
    assert!(control_plane.get("/api/v1/namespaces/kept").is_err());
    control_plane.wait_ready()?;
    assert!(control_plane.get("/api/v1/namespaces/kept")?.is_some());
    control_plane.etcd().stop()?;
    control_plane.wait_ready()?;
    assert!(control_plane.get("/api/v1/namespaces/kept")?.is_some());
    Ok(())
}

#[test]
fn the_api_server_calls_a_webhook_by_its_url_on_127_0_0_1() -> Outcome {
    let Some(control_plane) = start()? else { return Ok(()) };
    control_plane.create_namespace("hooked")?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("https://127.0.0.1:{}/", listener.local_addr()?.port());
    control_plane.create(CONFIGURATIONS, &webhook(&json!({ "url": url })))?;
    assert_dialled(&control_plane, listener)
}

pub(crate) const CONFIGURATIONS: &str =
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";

/// A webhook for pods in the namespace `hooked`.
pub(crate) fn webhook(client: &Value) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": { "name": "hook" },
        "webhooks": [{
            "name": "hook.testbed.invalid",
            "clientConfig": client,
            "rules": [{
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["CREATE"],
                "resources": ["pods"],
            }],
            "failurePolicy": "Fail",
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "timeoutSeconds": 5,
        }],
    })
}

/// That creating a pod makes the API server begin TLS with whoever listens.
pub(crate) fn assert_dialled(control_plane: &ControlPlane, listener: TcpListener) -> Outcome {
    let dialled = thread::spawn(move || {
        let (mut connection, _) = listener.accept()?;
        let mut begin = [0; 2];
        connection.read_exact(&mut begin)?;
        std::io::Result::Ok(begin)
    });
    // A webhook is in force a moment after it was stored.
    while !dialled.is_finished() {
        let pod = pod("a");
        control_plane.request("POST", "/api/v1/namespaces/hooked/pods?dryRun=All", Some(&pod))?;
    }
    // A TLS record of the type handshake, version 3.x (RFC 8446, 5.1).
    assert_eq!(dialled.join().unwrap()?, [0x16, 0x03]);
    Ok(())
}
