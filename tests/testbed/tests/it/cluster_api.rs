//! Cluster API with machines in memory.

use image_swap_testbed::{ClusterApi, ControlPlane, Options};

use crate::{Outcome, parts};

#[test]
#[ignore = "needs Cluster API: cargo xtask test"]
fn webhooks_default_a_cluster() -> Outcome {
    let control_plane = ControlPlane::start(parts(), &Options::default())?;
    let mut cluster_api = ClusterApi::start(parts(), &control_plane)?;
    let clusters = "/apis/cluster.x-k8s.io/v1beta2/namespaces/default/clusters?dryRun=All";
    let cluster = serde_json::json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2",
        "kind": "Cluster",
        "metadata": { "name": "one" },
        "spec": { "infrastructureRef": {
            "apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "DevCluster", "name": "one",
        } },
    });
    let stored = control_plane.create(clusters, &cluster)?;
    eprintln!("{stored:#}");
    cluster_api.stop()?;
    assert!(control_plane.create(clusters, &cluster).is_err());
    cluster_api.wait_ready(&control_plane)?;
    control_plane.create(clusters, &cluster)?;
    Ok(())
}
