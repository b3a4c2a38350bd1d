//! Another version or other values of a release that serves.

use anyhow::Result;
use image_swap_e2e::{DEADLINE, HelmCluster, Install, PALETTE_VALUES};
use image_swap_testbed::{HelmWait, Wait, until};
use serde_json::Value;

use crate::{
    NGINX,
    stream::{Stream, assert_all_swapped},
    workloads,
};

/// Upgrades twice: with the same command, and with other annotations of the pods.
pub(super) fn in_place(cluster: &HelmCluster) -> Result<()> {
    cluster.step("the same command again replaces no pod");
    let before = pods(cluster)?;
    let revision = cluster.follow_palette()?;
    assert_eq!((revision.number, revision.status.as_str()), (2, "deployed"));
    cluster.wait_ready(&Install::default())?;
    assert_eq!(pods(cluster)?, before);

    cluster.step("an upgrade in place, while pods are created");
    let values = [PALETTE_VALUES, "podAnnotations: {upgraded: 'yes'}"];
    let created = Stream::during(cluster, || {
        assert_eq!(cluster.upgrade(&Install::with(&values), HelmWait::Ready)?.number, 3);
        cluster.wait_ready(&Install::default())
    })?;
    assert_all_swapped(&created);
    let after = pods(cluster)?;
    assert!(after.iter().all(|pod| !before.contains(pod)), "{before:?} {after:?}");
    assert_eq!(cluster.swapped("nginx:1.25")?, NGINX);
    Ok(())
}

/// Upgrades to an image that the registry does not have.
pub(super) fn to_missing_image(cluster: &HelmCluster) -> Result<()> {
    cluster.step("an upgrade to a missing image leaves the old version serving");
    let before = pods(cluster)?;
    let values = [PALETTE_VALUES, "image: {tag: not-there}"];
    assert_eq!(cluster.upgrade(&Install::with(&values), HelmWait::Hooks)?.number, 4);
    until("a pod that cannot be pulled", DEADLINE, || {
        let reasons = "{.items[*].status.containerStatuses[*].state.waiting.reason}";
        let reasons = format!("--output=jsonpath={reasons}");
        match cluster.kubectl(&["get", "pods", "--namespace=default", &reasons]) {
            Ok(found) if found.contains("ImagePull") => Ok(()),
            found => Err(Wait::NotYet(format!("{found:?}"))),
        }
    })?;
    let now = pods(cluster)?;
    let serving: Vec<_> = before.iter().filter(|pod| pod.contains("-admission-")).collect();
    assert_eq!(serving.len(), 2, "{before:?}");
    assert!(serving.iter().all(|pod| now.contains(pod)), "{now:?}");
    assert_eq!(cluster.swapped("nginx:1.25")?, NGINX);
    cluster.wait_policy(&Install::default(), "Fail")
}

/// Rolls back to the version that serves, and to the one before.
pub(super) fn roll_back(cluster: &HelmCluster) -> Result<()> {
    cluster.step("helm rollback, while pods are created");
    let created = Stream::during(cluster, || {
        cluster.helm().rollback("default", "image-swap", None, HelmWait::Ready)?;
        cluster.wait_ready(&Install::default())?;
        cluster.helm().rollback("default", "image-swap", Some(2), HelmWait::Ready)?;
        cluster.wait_ready(&Install::default())
    })?;
    assert_all_swapped(&created);
    assert_eq!(cluster.swapped("nginx:1.25")?, NGINX);
    let history = cluster.helm().history("default", "image-swap")?;
    assert_eq!(history.last().map(|last| last.number), Some(6), "{history:?}");
    Ok(())
}

/// Returns the names of the release's pods that are not being deleted.
fn pods(cluster: &HelmCluster) -> Result<Vec<String>> {
    let selector = "labelSelector=app.kubernetes.io/name=image-swap";
    let pods = workloads::pods(cluster, &format!("/api/v1/namespaces/default/pods?{selector}"))?;
    let name = |pod: &Value| Some(pod["metadata"]["name"].as_str()?.to_owned());
    Ok(pods.iter().filter_map(name).collect())
}
