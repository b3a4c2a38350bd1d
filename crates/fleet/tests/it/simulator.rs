//! The simulated workload clusters of the benchmark, compared with a real API server.

use std::time::Duration;

use image_swap_core::fleet::{
    bundle::{BundleObject, BundlePhase, FLEET_MANAGER},
    drift::RepairLog,
    kubeconfig::{RemoteAccess, RemoteCredential},
};
use image_swap_fleet::remote::{ApplyReport, FleetToken, RemoteCluster, RemoteError, RemoteLimits};
use image_swap_load::simulator::{Availability, SimulatedClusters};
use image_swap_testbed::{ControlPlane, Options, Parts, RunDir};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::task::block_in_place;

/// Time before which no token expires.
const NOW: u64 = 1_700_000_000;

/// Returns a Secret with one key, in a namespace.
fn secret(namespace: &str, domain: &str) -> BundleObject {
    BundleObject {
        phase: BundlePhase::Base,
        api_version: "v1".to_owned(),
        kind: "Secret".to_owned(),
        namespace: Some(namespace.to_owned()),
        name: "registry-info".to_owned(),
        value: json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {
                "name": "registry-info", "namespace": namespace,
                "annotations": { "image-swap.io/revision": "1" },
            },
            "data": { "DOMAIN": image_swap_text::base64::encode(domain) },
        })
        .into(),
    }
}

fn connect(kubeconfig: &str) -> RemoteCluster {
    let access = RemoteAccess::parse(kubeconfig.as_bytes()).unwrap();
    RemoteCluster::connect(&access, &RemoteLimits::default()).unwrap()
}

/// Returns the results of writes of every kind, and the formats of other answers.
async fn outcomes(kubeconfig: &str) -> Vec<Result<ApplyReport, RemoteError>> {
    let cluster = connect(kubeconfig);
    let mut log = RepairLog::default();
    let mut results = Vec::new();
    let namespace = BundleObject::namespace("jet-system");
    let one = [namespace.clone(), secret("jet-system", "one.example.org")];
    let two = [namespace, secret("jet-system", "two.example.org")];
    let lost = [secret("absent", "one.example.org")];
    for objects in [&one[..], &one, &two, &lost] {
        results.push(cluster.apply(objects, &mut log, NOW).await);
    }
    let secrets: Api<Secret> = Api::namespaced(cluster.client(), "jet-system");
    let other = json!({ "data": { "DOMAIN": image_swap_text::base64::encode("other") } });
    let edit = PatchParams { field_manager: Some("kubectl-edit".to_owned()), ..Default::default() };
    secrets.patch("registry-info", &edit, &Patch::Merge(&other)).await.unwrap();
    // Drift, which is repaired, and then no more.
    results.push(cluster.apply(&two, &mut log, NOW).await);
    results.push(cluster.apply(&two, &mut log, NOW).await);
    // A forced apply that names a former version.
    let other = json!({ "apiVersion": "v1", "kind": "Secret", "data": other["data"] });
    let mut former = other.clone();
    former["metadata"]["resourceVersion"] = "1".into();
    let late = PatchParams::apply(FLEET_MANAGER).force();
    let refused = secrets.patch("registry-info", &late, &Patch::Apply(&former)).await.unwrap_err();
    let kube::Error::Api(refused) = refused else { panic!("{refused}") };
    results.push(Err(RemoteError::of_code(refused.code)));
    let argo = PatchParams::apply("argocd-controller").force();
    secrets.patch("registry-info", &argo, &Patch::Apply(&other)).await.unwrap();
    // A conflict.
    results.push(cluster.apply(&two, &mut log, NOW).await);
    let identity = cluster.identity().await.unwrap();
    assert_eq!(identity.len(), 36, "{identity}");
    let facts = cluster.discover().await.unwrap();
    assert!(
        ["v1", "apps/v1", "coordination.k8s.io/v1"].iter().all(|it| facts.served.contains(*it))
    );
    let access = RemoteAccess::parse(kubeconfig.as_bytes()).unwrap();
    let limits = RemoteLimits::default();
    let token = FleetToken::create(&access, &limits, "jet-system", NOW).await.unwrap();
    let account = RemoteCluster::connect(&token.access(&access), &limits).unwrap();
    assert_eq!(account.identity().await.unwrap(), identity);
    let access = RemoteAccess { credential: RemoteCredential::Token("other".into()), ..access };
    let stranger = RemoteCluster::connect(&access, &limits).unwrap();
    results.push(Err(stranger.identity().await.unwrap_err()));
    results
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn simulated_cluster_answers_as_a_real_one() {
    let directory = RunDir::new("simulator").unwrap();
    let simulated = SimulatedClusters::start(directory.path(), 1).await.unwrap();
    let parts = Parts::present().unwrap();
    let plane = block_in_place(|| ControlPlane::start(&parts, &Options::default())).unwrap();
    let real = outcomes(&plane.administrator_kubeconfig().unwrap()).await;
    let found = outcomes(&simulated.kubeconfig(0)).await;
    assert_eq!(found, real);
}

#[tokio::test(flavor = "multi_thread")]
async fn simulated_clusters_have_objects_of_their_own() {
    let directory = RunDir::new("simulator").unwrap();
    let simulated = SimulatedClusters::start(directory.path(), 2).await.unwrap();
    let clusters = [0, 1].map(|index| connect(&simulated.kubeconfig(index)));
    let [one, two] = [clusters[0].identity().await, clusters[1].identity().await];
    assert_ne!(one.unwrap(), two.unwrap());
    let objects = [BundleObject::namespace("jet-system"), secret("jet-system", "a.example.org")];
    let written = clusters[0].apply(&objects, &mut RepairLog::default(), NOW).await.unwrap();
    assert_eq!((written.written, written.is_complete()), (2, true));
    let written = clusters[1].apply(&objects, &mut RepairLog::default(), NOW).await.unwrap();
    assert_eq!((written.written, written.is_complete()), (2, true));

    // The declaration is in the heartbeat.
    let (mut beats, watch) = image_swap_fleet::follow_remote(
        &clusters[0],
        "image-swap",
        "image-swap-heartbeat",
        image_swap_fleet::STALE_AFTER,
    );
    let seen = crate::hub::until(&mut beats, |it| it.summary.is_some()).await;
    assert_eq!(seen.summary.unwrap().registry_info_revision, Some(1));
    assert_eq!(simulated.counts(0).open_connections, 1, "requests and watch share a connection");
    watch.abort();

    // Another cluster is silent.
    simulated.set_availability(1, Availability::Silent);
    let limits = RemoteLimits { request: Duration::from_millis(200), ..RemoteLimits::default() };
    let access = RemoteAccess::parse(simulated.kubeconfig(1).as_bytes()).unwrap();
    let silent = RemoteCluster::connect(&access, &limits).unwrap();
    assert_eq!(silent.identity().await, Err(RemoteError::TimedOut));
    simulated.set_availability(1, Availability::Closed);
    assert_eq!(silent.identity().await, Err(RemoteError::Unreachable));
    simulated.set_availability(1, Availability::Online);
    silent.identity().await.unwrap();
    assert_eq!((simulated.counts(0).writes, simulated.counts(1).writes), (2, 2));
}
