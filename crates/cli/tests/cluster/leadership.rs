//! Two controllers, of which one leads.

use std::time::Duration;

use image_swap_cluster::{LeaderElection, LeaseTiming};
use serde_json::json;

use crate::test_cluster::{TestCluster, release, until};

fn times() -> LeaseTiming {
    LeaseTiming { duration: Duration::from_secs(3), period: Duration::from_millis(300) }
}

// guarantee: 4f
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn second_candidate_leads_after_the_first() {
    let cluster = TestCluster::set().await;
    let mut one = LeaderElection::new(&cluster.client, &release(), "one", times());
    let mut first = one.leadership();
    let running = tokio::spawn(async move { one.run().await });
    until(&mut first, |leads| *leads).await;

    let mut two = LeaderElection::new(&cluster.client, &release(), "two", times());
    let mut second = two.leadership();
    let waiting = tokio::spawn(async move { two.run().await });
    // A killed controller does not release the Lease, so that the other one waits for its end.
    running.abort();
    until(&mut second, |leads| *leads).await;
    let lease =
        "/apis/coordination.k8s.io/v1/namespaces/image-swap-system/leases/image-swap-controller";
    let lease = cluster.get(lease).unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], "two");
    // The Lease is deleted with the release.
    let owner = &lease["metadata"]["ownerReferences"][0];
    assert_eq!((&owner["kind"], &owner["name"]), (&json!("ClusterRole"), &json!("image-swap")));
    waiting.abort();
}

// guarantee: 4f
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn leader_without_renewal_stops_before_expiry() {
    let mut cluster = TestCluster::set().await;
    let mut election = LeaderElection::new(&cluster.client, &release(), "one", times());
    let mut leadership = election.leadership();
    let running = tokio::spawn(async move { election.run().await });
    until(&mut leadership, |leads| *leads).await;
    cluster.control_plane.api_server().stop().unwrap();
    until(&mut leadership, |leads| !*leads).await;
    tokio::task::block_in_place(|| cluster.control_plane.wait_ready().unwrap());
    until(&mut leadership, |leads| *leads).await;
    running.abort();
}
