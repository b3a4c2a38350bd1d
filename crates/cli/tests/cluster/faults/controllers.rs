//! Several controllers at the same time.

use image_swap_cluster::Controller;
use image_swap_core::{control::policy::FailurePolicy, status::ProbeStatus};
use tokio::sync::watch;

use super::{REGISTRY, ServedCluster};
use crate::{
    stream::Stream,
    test_cluster::{SECRETS, intervals, settings, until},
};

/// A leader that has not noticed the loss of its Lease works on for a while. Here both controllers
/// lead all the time.
// guarantee: 4f
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn two_controllers_that_both_lead_agree() {
    let mut scene = ServedCluster::set(1).await;
    let mut stream = Stream::begin(&scene.cluster.client, REGISTRY);
    let versions = |scene: &ServedCluster| {
        let secrets = ["ca", "tls", "effective", "last-good"].map(|name| {
            let secret = scene.cluster.get(&format!("{SECRETS}/image-swap-{name}")).unwrap();
            secret["metadata"]["resourceVersion"].clone()
        });
        (secrets, scene.cluster.registration().unwrap()["metadata"]["resourceVersion"].clone())
    };
    let before = versions(&scene);
    let (_leads, leadership) = watch::channel(true);
    let second = Controller::new(&scene.cluster.client, settings(), "two", intervals());
    let mut report = second.report();
    let task = tokio::spawn(async move { Box::pin(second.run(leadership)).await });
    let seen = until(&mut report, |it| it.policy.probe == ProbeStatus::Reached).await;
    assert_eq!(seen.policy.failure_policy, Some(FailurePolicy::Fail));
    stream.more().await;
    // Neither controller reverts a write of the other.
    assert_eq!(versions(&scene), before);

    // Both replace the lost certificate; one of them wins, and the other accepts it.
    scene.cluster.request("DELETE", &format!("{SECRETS}/image-swap-tls"), None);
    let (replica, _) = &scene.replicas[0];
    let count = *replica.certificates().borrow();
    until(&mut replica.certificates(), |now| *now > count).await;
    stream.more().await;
    let leaf = scene.cluster.get(&format!("{SECRETS}/image-swap-tls")).unwrap();
    let registered = scene.cluster.registration().unwrap();
    for entry in registered["webhooks"].as_array().unwrap() {
        assert_eq!(entry["clientConfig"]["caBundle"], leaf["data"]["ca.crt"]);
    }
    task.abort();
    stream.end().await.assert_flawless();
    assert_eq!(scene.controller().report.borrow().repairs, 0);
    assert_eq!(report.borrow().repairs, 0);
}
