//! Fleet controllers that are killed at each step.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use hyper::{Method, Request};
use image_swap_cluster::{LeaderElection, LeaseTiming, Release, client};
use image_swap_fleet::FleetController;
use image_swap_testbed::ControlPlane;
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::{sync::watch, task::block_in_place};

use crate::{
    fake::{ADMINISTRATOR, FakeServer},
    fleet::{FLEET, Fleet, apply, kubectl, settings},
    gate::Gate,
};

/// Count of the writes on the management cluster, of which one gets no answer.
#[derive(Default)]
struct WriteGate {
    writes: AtomicUsize,
    /// Number of the write that gets no answer, from 1; 0 for none.
    stop: AtomicUsize,
    is_stopped: watch::Sender<bool>,
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
            gate.is_stopped.send_replace(true);
            std::future::pending().await
        }
    });
    Client::new(service, "default")
}

/// Waits until `stop`, or until the fleet controller has applied the declaration `revision`. Returns
/// true in the first case.
async fn stops(fleet: &Fleet, stop: impl Future<Output = ()>, revision: u64) -> bool {
    tokio::select! {
        () = stop => true,
        () = fleet.applied(revision) => false,
    }
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
    for write in 1_usize.. {
        fleet.kill().await;
        let name = write.to_string();
        server.refuse(|token| token != ADMINISTRATOR);
        server.replace(&name);
        server.stop_at(write, write.is_multiple_of(2));
        fleet.lead(|_| {}).await;
        let is_stopped = stops(&fleet, server.stopped(), 1).await;
        fleet.kill().await;
        server.proceed();
        fleet.lead(|_| {}).await;
        fleet.applied(1).await;
        assert_eq!(server.objects(), expected, "killed at write {write}");
        if !is_stopped {
            assert!(write > expected.len(), "only {write} writes");
            break;
        }
    }

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
        let mut stop = gate.is_stopped.subscribe();
        let stop = async { drop(stop.wait_for(|it| *it).await.unwrap()) };
        let is_stopped = stops(&fleet, stop, revision).await;
        fleet.lead(|_| {}).await;
        fleet.applied(revision).await;
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

/// Returns the objects of a workload cluster that the fleet controller applied, by kind, namespace and
/// name, without what differs between two API servers.
fn applied(plane: &ControlPlane) -> BTreeMap<[String; 3], Value> {
    let record = "/api/v1/namespaces/image-swap/configmaps/image-swap-fleet-objects";
    let record = block_in_place(|| plane.get(record)).unwrap().unwrap();
    let record = record["data"]["objects"].as_str().unwrap();
    let recorded = record.lines().map(|line| line.split(' ').nth(1).unwrap());
    let kinds = recorded.chain(["Namespace", "CustomResourceDefinition"]);
    let kinds: BTreeSet<&str> = kinds.collect();
    let kinds = Vec::from_iter(kinds).join(",");
    let arguments = ["get", &kinds, "--all-namespaces", "--output=json", "--show-managed-fields"];
    let list: Value = serde_json::from_str(&kubectl(plane, &arguments)).unwrap();
    let mut objects = BTreeMap::new();
    for object in list["items"].as_array().unwrap() {
        let mut object = object.clone();
        let metadata = object["metadata"].as_object_mut().unwrap();
        let managers = metadata.remove("managedFields").unwrap_or_default();
        let mut managers = managers.as_array().into_iter().flatten();
        if !managers.any(|it| it["manager"] == "image-swap-fleet") {
            continue;
        }
        for key in ["uid", "resourceVersion", "creationTimestamp", "generation"] {
            metadata.remove(key);
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let key = [&object["kind"], &object["metadata"]["namespace"], &object["metadata"]["name"]]
            .map(text);
        object["status"] = Value::Null;
        for key in ["clusterIP", "clusterIPs"] {
            if object["spec"][key] != Value::Null {
                object["spec"][key] = Value::Null;
            }
        }
        objects.insert(key, object);
    }
    objects
}

// guarantee: 4f
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn controllers_killed_at_each_write_finish_together() {
    let mut fleet = Fleet::prepare(2);
    let gate = Gate::start(&fleet.planes.workloads[0]).await;
    fleet.enter("x", gate.kubeconfig());
    loop {
        fleet.lead(|_| {}).await;
        if !stops(&fleet, gate.stopped(), 1).await {
            break;
        }
        fleet.kill().await;
        gate.proceed();
    }
    // Another cluster gets the same without a kill.
    fleet.enter("b", &fleet.planes.workloads[1].administrator_kubeconfig().unwrap());
    fleet.wait_declared(1, 1, "one");
    let [killed, expected] = [0, 1].map(|index| applied(&fleet.planes.workloads[index]));
    assert!(gate.stops() > expected.len(), "{} of {} writes", gate.stops(), expected.len());
    assert_eq!(killed, expected);
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
