//! Upgrades of the bundle, which reach workload clusters in waves.

use serde_json::{Value, json};

use crate::{
    fake::FakeServer,
    fleet::{
        CONTROLLER, FLEET, Fleet, REGISTRY_INFO, apply, check_declared, condition, wait_until,
    },
    rollout::{NAMES, STATE_NAME, order, revision, verified, waves},
};

const BUNDLE: &str = "/api/v1/namespaces/image-swap-fleet/configmaps/image-swap-fleet-bundle";
/// Object of the bundle that no other one needs.
const SERVICE: &str = "/api/v1/namespaces/image-swap/services/image-swap-admission";
/// Argument by which the former bundle and the new one differ.
const LEVELS: [&str; 2] = ["--log-level=info", "--log-level=debug"];

/// Returns the value of an argument of the controller that begins with `prefix`.
fn argument(server: &FakeServer, prefix: &str) -> String {
    let controller = server.get(CONTROLLER).unwrap_or_default();
    let arguments = &controller["spec"]["template"]["spec"]["containers"][0]["args"];
    let mut arguments = arguments.as_array().into_iter().flatten().filter_map(Value::as_str);
    arguments.find_map(|it| it.strip_prefix(prefix)).unwrap_or_default().to_owned()
}

/// Returns the hash of the bundle that was applied.
fn bundle_hash(server: &FakeServer) -> String {
    argument(server, "--bundle-hash=")
}

/// Returns true if the new bundle was applied.
fn is_new(server: &FakeServer) -> bool {
    let level = argument(server, "--log-level=");
    assert!(["info", "debug"].contains(&&*level), "{level}");
    level == "debug"
}

/// Sends a heartbeat of a controller that runs from the bundle `hash`, with the declaration
/// `revision` in force.
fn beat(server: &FakeServer, revision: u64, hash: &str) {
    let mut summary = verified(revision);
    summary["bundleHash"] = hash.into();
    server.beat(&summary);
}

/// Replaces the bundle on the management cluster.
fn upgrade(fleet: &Fleet) {
    let mut map = fleet.planes.hub.get(BUNDLE).unwrap().unwrap();
    let text = map["data"]["bundle.yaml"].as_str().unwrap().replace(LEVELS[0], LEVELS[1]);
    map["data"]["bundle.yaml"] = text.into();
    map["metadata"] = json!({
        "name": map["metadata"]["name"], "namespace": FLEET, "labels": map["metadata"]["labels"],
    });
    apply(&fleet.planes.hub, &map.to_string());
}

fn wait_new(name: &str, server: &FakeServer) {
    wait_until(&format!("the new bundle in {name}"), || {
        if is_new(server) { Ok(()) } else { Err(server.get(CONTROLLER).unwrap().to_string()) }
    });
}

/// Waits until a cluster keeps its bundle, with these `words` as the reason.
fn wait_kept(fleet: &Fleet, name: &str, words: &[&str]) {
    let status = fleet.wait(name, "kept", |status| {
        let applied = condition(status, "Applied");
        let message = applied["message"].to_string();
        applied["reason"] == "WaitingForWave" && words.iter().all(|it| message.contains(it))
    });
    assert_eq!(condition(&status, "Healthy")["status"], "True", "{status}");
}

/// Waits until a cluster has the declaration `revision`, whatever bundle it has.
fn wait_declaration(server: &FakeServer, revision: u64, path: &str) {
    wait_until(&format!("declaration {revision}"), || {
        check_declared(&server.get(REGISTRY_INFO).unwrap_or_default(), revision, path)
    });
}

/// Deletes the declaration of a cluster, and waits until it is restored.
fn restore_declaration(server: &FakeServer, declared: &str) {
    server.delete(REGISTRY_INFO);
    wait_until("the declaration to be restored", || {
        let found = revision(server);
        if found == declared { Ok(()) } else { Err(found.to_string()) }
    });
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn canary_stops_an_upgrade_for_all_others() {
    let mut fleet = Fleet::prepare(0);
    let mut servers = Vec::new();
    for name in NAMES {
        servers.push(fleet.enter_fake(name).await);
    }
    let [canary, x, y] = &*servers else { panic!("three servers") };
    fleet.lead(waves).await;
    // The first bundle arrives with the first declaration.
    for (name, server) in NAMES.iter().zip(&servers) {
        fleet.wait_fake(name, server, 1, "one");
        beat(server, 1, &bundle_hash(server));
        fleet.wait(name, "healthy", |status| condition(status, "Healthy")["status"] == "True");
    }
    let former = bundle_hash(canary);
    assert_eq!(former.len(), 16, "{former}");

    // The pod of the fleet controller is replaced by the same upgrade.
    fleet.kill().await;
    upgrade(&fleet);
    fleet.lead(waves).await;
    wait_new("canary", canary);
    let new = bundle_hash(canary);
    assert_ne!(new, former);
    for name in ["x", "y"] {
        wait_kept(&fleet, name, &["bundle: waits for", "canary"]);
    }

    // During the rollout of the bundle a declaration still reaches all clusters, in its own waves.
    fleet.declare(2, "two");
    wait_declaration(canary, 2, "two");
    assert!([x, y].iter().all(|it| revision(it) == "1"));
    for server in &servers {
        wait_declaration(server, 2, "two");
        beat(server, 2, &former);
    }
    for name in NAMES {
        let is_stored = |status: &Value| status["appliedRevision"] == 2;
        fleet.wait(name, "declared", is_stored);
    }

    // Another fleet controller repairs the declaration, and nothing else.
    y.delete(SERVICE);
    for _ in [1, 2] {
        restore_declaration(y, "2");
        assert!(![x, y].iter().any(|it| is_new(it)));
        assert!(y.get(SERVICE).is_none());
        fleet.lead(waves).await;
    }

    // The new controller runs, and its nodes fail.
    canary.beat(&json!({
        "bundleHash": new, "registryInfoRevision": 2, "problems": ["node-trial-failed"],
        "nodes": { "total": 1, "applied": 0, "verified": 0 },
    }));
    for name in ["x", "y"] {
        wait_kept(&fleet, name, &["bundle: stopped", "canary", "trial"]);
    }
    let event = fleet.wait_event(FLEET, STATE_NAME, "RolloutStopped");
    assert!(event["note"].as_str().unwrap().starts_with("bundle: clusters/canary"), "{event}");

    // An order continues. Each wave waits for a controller of the new bundle.
    beat(canary, 2, &new);
    fleet.wait("canary", "healthy", |status| condition(status, "Healthy")["status"] == "True");
    assert!(![x, y].iter().any(|it| is_new(it)));
    order(&fleet, "image-swap.io/fleet=resume");
    wait_new("x", x);
    wait_kept(&fleet, "y", &["bundle: waits for", "an earlier wave"]);
    restore_declaration(x, "2");
    assert!(!is_new(y), "the former controller of x runs");
    beat(x, 2, &new);
    wait_new("y", y);
    wait_until("the deleted object of the bundle", || y.get(SERVICE).ok_or_else(String::new));
    beat(y, 2, &new);
    for name in NAMES {
        fleet.wait_stored(name, 2);
    }
}
