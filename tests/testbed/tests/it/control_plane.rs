//! etcd and the API server.

use std::{io::Read, net::TcpListener, thread};

use image_swap_testbed::{ControlPlane, Error, Options};
use serde_json::{Value, json};

use crate::{Outcome, parts};

fn start() -> Result<ControlPlane, Error> {
    ControlPlane::start(parts(), &Options::default())
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
#[ignore = "needs the API server: cargo xtask test"]
fn pod_is_admitted_in_a_new_namespace() -> Outcome {
    let control_plane = start()?;
    control_plane.create_namespace("one")?;
    let stored = control_plane.create("/api/v1/namespaces/one/pods?dryRun=All", &pod("a"))?;
    assert_eq!(stored["spec"]["containers"][0]["image"], "nginx");
    assert_eq!(stored["spec"]["serviceAccountName"], "default");
    assert_eq!(control_plane.get("/api/v1/namespaces/one/pods/a")?, None);
    Ok(())
}

#[test]
#[ignore = "needs the API server: cargo xtask test"]
fn pod_needs_its_service_account() -> Outcome {
    let control_plane = start()?;
    let namespace =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "bare" } });
    control_plane.create("/api/v1/namespaces", &namespace)?;
    let answer = control_plane.request("POST", "/api/v1/namespaces/bare/pods", Some(&pod("a")))?;
    assert_eq!(answer.status, 403, "{}", answer.body);
    assert!(answer.body.contains("service account"), "{}", answer.body);
    Ok(())
}

#[test]
#[ignore = "needs the API server: cargo xtask test"]
fn kubectl_is_the_administrator() -> Outcome {
    let control_plane = start()?;
    let out = control_plane.kubectl().args(["auth", "can-i", "*", "*"]).output()?;
    assert_eq!(String::from_utf8(out.stdout)?.trim(), "yes");
    Ok(())
}

#[test]
#[ignore = "needs the API server: cargo xtask test"]
fn objects_outlive_crash_of_api_server_and_etcd() -> Outcome {
    let mut control_plane = start()?;
    control_plane.create_namespace("kept")?;
    control_plane.api_server().kill()?;
    assert!(control_plane.get("/api/v1/namespaces/kept").is_err());
    control_plane.wait_ready()?;
    assert!(control_plane.get("/api/v1/namespaces/kept")?.is_some());
    control_plane.etcd().unwrap().stop()?;
    control_plane.wait_ready()?;
    assert!(control_plane.get("/api/v1/namespaces/kept")?.is_some());
    Ok(())
}

#[test]
#[ignore = "needs the API server: cargo xtask test"]
fn api_server_calls_webhook_by_loopback_url() -> Outcome {
    let control_plane = start()?;
    control_plane.create_namespace("hooked")?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("https://127.0.0.1:{}/", listener.local_addr()?.port());
    control_plane.create(CONFIGURATIONS, &webhook(&json!({ "url": url })))?;
    assert_dialled(&control_plane, listener)
}

pub(crate) const CONFIGURATIONS: &str =
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";

/// Returns a webhook for pods in the namespace `hooked`.
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

/// Checks that creating a pod makes the API server begin TLS with `listener`.
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
