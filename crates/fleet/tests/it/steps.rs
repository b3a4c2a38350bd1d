//! Fleet controllers that are killed at each step.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use hyper::{Method, Request};
use image_swap_cluster::{LeaderElection, LeaseTiming, Release, client};
use image_swap_fleet::FleetController;
use kube::{Client, client::Body};
use serde_json::{Value, json};

use crate::{
    fake::{ADMINISTRATOR, FakeServer, uid},
    fleet::{FLEET, Fleet, apply, condition, report, settings, wait_until},
    hub::NAMESPACE,
};

/// Count of the writes on the management cluster, of which one gets no answer.
#[derive(Default)]
struct WriteGate {
    writes: AtomicUsize,
    /// Number of the write that gets no answer, from 1; 0 for none.
    stop: AtomicUsize,
    is_stopped: AtomicBool,
}

/// Returns `client` with a gate for writes. Every second one takes effect.
fn gated(client: &Client, gate: &Arc<WriteGate>) -> Client {
    let (client, gate) = (client.clone(), Arc::clone(gate));
    let service = tower::service_fn(move |request: Request<Body>| {
        let (client, gate) = (client.clone(), Arc::clone(&gate));
        async move {
            let is_write = ![Method::GET, Method::HEAD].contains(request.method());
            let number = if is_write { gate.writes.fetch_add(1, SeqCst) + 1 } else { 0 };
            if !is_write || number != gate.stop.load(SeqCst) {
                return client.send(request).await;
            }
            if number.is_multiple_of(2) {
                let _ = client.send(request).await;
            }
            gate.is_stopped.store(true, SeqCst);
            std::future::pending().await
        }
    });
    Client::new(service, "default")
}

/// Waits until `is_stopped` returns true, or the declaration `revision` is in force in the cluster
/// `name`. Returns true in the first case.
fn stopped(fleet: &Fleet, is_stopped: impl Fn() -> bool, name: &str, revision: u64) -> bool {
    wait_until("a stop or the end", || {
        let path = report(NAMESPACE, "x");
        let object = fleet.planes.hub.get(&path).ok().flatten().unwrap_or_default();
        let status = &object["status"];
        let is_in_force = condition(status, "Applied")["status"] == "True"
            && status["appliedRevision"] == revision
            && status["clusterUid"] == uid(name);
        if is_stopped() {
            Ok(true)
        } else if is_in_force {
            Ok(false)
        } else {
            Err(object.to_string())
        }
    })
}

// guarantee: 4f
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn killed_controllers_lead_to_the_same_objects() {
    let mut fleet = Fleet::prepare(0);
    let server = FakeServer::start("0").await;
    fleet.enter("x", &server.kubeconfig(ADMINISTRATOR));
    fleet.lead(|_| {}).await;
    fleet.wait_fake("x", &server, 1, "one");
    let expected = server.objects();

    // At each write on the workload cluster, which is a new one each time.
    let mut write = 1;
    loop {
        fleet.kill().await;
        let name = write.to_string();
        server.refuse(|token| token != ADMINISTRATOR);
        server.replace(&name);
        server.stop_at(write, write.is_multiple_of(2));
        fleet.lead(|_| {}).await;
        let is_stopped = stopped(&fleet, || server.is_stopped(), &name, 1);
        fleet.kill().await;
        server.proceed();
        fleet.lead(|_| {}).await;
        assert!(!stopped(&fleet, || false, &name, 1));
        assert_eq!(server.objects(), expected, "killed at write {write}");
        if !is_stopped {
            break;
        }
        write += if write < 6 { 1 } else { 7 };
    }
    assert!(write > 20, "only {write} writes");

    // At each write on the management cluster, with a new declaration and a new cluster.
    let hub = client(Some(fleet.planes.hub.kubeconfig())).await.unwrap();
    for write in 1_usize.. {
        fleet.kill().await;
        let (revision, path) = (write as u64 + 1, format!("p{write}"));
        let name = format!("hub-{write}");
        server.refuse(|token| token != ADMINISTRATOR);
        server.replace(&name);
        fleet.declare(revision, &path);
        let gate = Arc::new(WriteGate::default());
        gate.stop.store(write, SeqCst);
        fleet.lead_by(&gated(&hub, &gate), |_| {}).await;
        let is_stopped = stopped(&fleet, || gate.is_stopped.load(SeqCst), &name, revision);
        fleet.lead(|_| {}).await;
        assert!(!stopped(&fleet, || false, &name, revision));
        fleet.wait_fake("x", &server, revision, &path);
        let names = |all: &[(String, _)]| all.iter().map(|it| it.0.clone()).collect::<Vec<_>>();
        let found: Vec<(String, Value)> = server.objects();
        assert_eq!(names(&found), names(&expected), "killed at write {write}");
        if !is_stopped {
            assert!(write > 4, "only {write} writes");
            break;
        }
    }
}

// guarantee: 4f
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn second_controller_continues_after_the_first() {
    let fleet = Fleet::prepare(0);
    let server = FakeServer::start("0").await;
    fleet.enter("x", &server.kubeconfig(ADMINISTRATOR));
    let anchor = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": { "name": "image-swap-fleet" },
    });
    apply(&fleet.planes.hub, &anchor.to_string());
    let hub = client(Some(fleet.planes.hub.kubeconfig())).await.unwrap();
    let candidate = Release { namespace: FLEET.to_owned(), name: "image-swap-fleet".to_owned() };
    let times =
        LeaseTiming { duration: Duration::from_secs(3), period: Duration::from_millis(300) };
    let start = |identity: &str| {
        let mut election = LeaderElection::new(&hub, &candidate, identity, times);
        let leadership = election.leadership();
        let controller = FleetController::new(&hub, settings());
        let leads = election.leadership();
        let task = tokio::spawn(async move {
            tokio::select! {
                () = election.run() => {}
                () = controller.run(leadership) => {}
            }
        });
        (task, leads)
    };
    let (first, mut leads) = start("one");
    leads.wait_for(|it| *it).await.unwrap();
    let (second, mut other) = start("two");
    fleet.wait_fake("x", &server, 1, "one");
    assert!(!*other.borrow());
    first.abort();
    let _ = first.await;
    fleet.declare(2, "two");
    tokio::time::timeout(Duration::from_mins(1), other.wait_for(|it| *it)).await.unwrap().unwrap();
    fleet.wait_fake("x", &server, 2, "two");
    second.abort();
}
