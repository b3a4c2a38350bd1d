//! Broken and hostile workload clusters beside a healthy one.

use image_swap_fleet::FleetSettings;
use image_swap_testbed::ControlPlane;
use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::{
    fake::{ADMINISTRATOR, FakeServer, Fault, SECRET},
    fleet::{Fleet, REGISTRY_INFO, apply, condition, kubectl, report, text},
    hub::NAMESPACE,
};

/// Returns the faults by the names of their clusters, with the states that may follow.
fn faults(target: &FakeServer) -> Vec<(&'static str, Fault, &'static [&'static str])> {
    const AWAY: &[&str] = &["Unreachable"];
    const FAILED: &[&str] = &["Failed"];
    let refused = |code: u16| Fault::Status(code, String::new());
    vec![
        ("silent", Fault::Silent, AWAY),
        ("half", Fault::SilentBody, AWAY),
        ("reset", Fault::Reset, AWAY),
        ("cut", Fault::Cut, AWAY),
        ("garbage", Fault::Garbage, AWAY),
        ("other", Fault::NoHttp, AWAY),
        ("endless", Fault::Endless, AWAY),
        ("large", Fault::Large, AWAY),
        ("busy", Fault::Status(429, "Retry-After: 100000\r\n".to_owned()), AWAY),
        ("broken", refused(500), AWAY),
        ("unauthorized", refused(401), AWAY),
        ("forbidden", refused(403), FAILED),
        ("redirect", Fault::redirect(&target.url), FAILED),
    ]
}

// guarantee: 6b
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn hostile_cluster_delays_no_other_one() {
    let mut fleet = Fleet::prepare(1);
    fleet.enter("a", &fleet.planes.workloads[0].administrator_kubeconfig().unwrap());
    let target = FakeServer::start("target").await;
    let faults = faults(&target);
    let mut servers = Vec::new();
    for (name, ..) in &faults {
        servers.push(fleet.enter_fake(name).await);
    }
    fleet.lead(|_| {}).await;
    fleet.wait_declared(0, 1, "one");
    for ((name, ..), server) in faults.iter().zip(&servers) {
        fleet.wait_fake(name, server, 1, "one");
    }

    for ((_, fault, _), server) in faults.iter().zip(&servers) {
        server.misbehave(Some(("/", fault.clone())));
    }
    fleet.declare(2, "two");
    fleet.wait_declared(0, 2, "two");
    for (name, fault, states) in &faults {
        let is_reported = |status: &Value| {
            let reason =
                condition(status, "Applied")["reason"].as_str().unwrap_or_default().to_owned();
            states.contains(&&*reason)
        };
        let status = fleet.wait(name, &format!("{states:?}"), is_reported).to_string();
        for hidden in [SECRET, "hunter2", ADMINISTRATOR, "issued-"] {
            assert!(!status.contains(hidden), "{fault:?}: {status}");
        }
    }
    assert_eq!(target.requests().len(), 0, "a redirect is not followed");

    // All of them return, and converge without an order.
    for ((name, ..), server) in faults.iter().zip(&servers) {
        server.misbehave(None);
        fleet.wait_fake(name, server, 2, "two");
    }
}

/// Writes the heartbeat of a real workload cluster, as its controller does.
fn beat(plane: &ControlPlane, revision: u64) {
    let summary = format!("image-swap.io/summary={{\"registryInfoRevision\":{revision}}}");
    let lease = ["image-swap-heartbeat", "--namespace=image-swap"];
    let path = "/apis/coordination.k8s.io/v1/namespaces/image-swap/leases/image-swap-heartbeat";
    if block_in_place(|| plane.get(path)).unwrap().is_none() {
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": { "name": "image-swap-heartbeat", "namespace": "image-swap" },
        });
        apply(plane, &lease.to_string());
    }
    kubectl(plane, &["annotate", "lease", lease[0], lease[1], "--overwrite", &summary]);
}

// guarantee: 4f
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn clusters_outlive_lost_servers_and_credentials() {
    let mut fleet = Fleet::prepare(2);
    let waves = |settings: &mut FleetSettings| settings.wave_size = 1;
    // The first wave has the cluster that answers first.
    fleet.lead(waves).await;
    let workloads = &fleet.planes.workloads;
    let kubeconfigs = [
        workloads[0].administrator_kubeconfig().unwrap(),
        workloads[1].token_kubeconfig("default", "boss", true).unwrap(),
    ];
    for (index, (name, kubeconfig)) in ["a", "b"].into_iter().zip(&kubeconfigs).enumerate() {
        fleet.enter(name, kubeconfig);
        fleet.wait_declared(index, 1, "one");
        beat(&fleet.planes.workloads[index], 1);
    }

    // The management cluster and the storage of all clusters end between two waves.
    fleet.declare(2, "two");
    fleet.wait_declared(0, 2, "two");
    fleet.wait_applied("b", "WaitingForWave");
    let path = REGISTRY_INFO;
    let before = fleet.planes.workloads[0].get(path).unwrap().unwrap();
    block_in_place(|| {
        fleet.planes.hub.power_off().unwrap();
        fleet.planes.hub.wait_ready().unwrap();
        for plane in &mut fleet.planes.workloads {
            plane.wait_ready().unwrap();
        }
    });
    beat(&fleet.planes.workloads[0], 2);
    fleet.wait_declared(1, 2, "two");
    beat(&fleet.planes.workloads[1], 2);
    let after = fleet.planes.workloads[0].get(path).unwrap().unwrap();
    let version = |secret: &Value| secret["metadata"]["resourceVersion"].clone();
    assert_eq!(version(&before), version(&after), "nothing is applied twice");

    // The credential of the administrator is revoked. The own one suffices.
    let account = "/api/v1/namespaces/default/serviceaccounts/boss";
    fleet.planes.workloads[1].request("DELETE", account, None).unwrap();
    fleet.lead(|_| {}).await;
    fleet.declare(3, "three");
    fleet.wait_declared(1, 3, "three");
    // Without both, the cluster is reported, and the first renewed credential repairs that.
    let own = "/api/v1/namespaces/image-swap/serviceaccounts/image-swap-fleet";
    let old = text(&fleet.token("b"), "token");
    fleet.planes.workloads[1].request("DELETE", own, None).unwrap();
    fleet.wait("b", "unreachable with the status 401", |status| {
        let message = condition(status, "Reachable")["message"].to_string();
        condition(status, "Applied")["reason"] == "Unreachable" && message.contains("401")
    });
    fleet.enter("b", &fleet.planes.workloads[1].administrator_kubeconfig().unwrap());
    fleet.declare(4, "four");
    for index in [0, 1] {
        fleet.wait_declared(index, 4, "four");
    }
    fleet.wait_token("b", &old);
    fleet.wait_object(1, own, |it| it.is_some());

    // The own account of the other cluster is created again: its tokens are refused.
    let old = text(&fleet.token("a"), "token");
    fleet.planes.workloads[0].request("DELETE", own, None).unwrap();
    fleet.lead(|_| {}).await;
    fleet.wait_token("a", &old);

    // An API server that is gone comes back.
    block_in_place(|| fleet.planes.workloads[0].api_server().stop().unwrap());
    fleet.declare(5, "five");
    fleet.wait_declared(1, 5, "five");
    fleet.wait_applied("a", "Unreachable");
    block_in_place(|| fleet.planes.workloads[0].wait_ready().unwrap());
    fleet.wait_declared(0, 5, "five");
    let found = fleet.planes.hub.get(&report(NAMESPACE, "a")).unwrap().unwrap().to_string();
    assert!(!found.contains("hunter2"), "{found}");
}
