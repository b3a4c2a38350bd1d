//! The fleet controller with exactly the permissions of the chart on the management cluster: every
//! function works, and every permission is used.

use std::{collections::BTreeSet, time::Duration};

use image_swap_cluster::{LeaderElection, LeaseTiming};
use image_swap_core::fleet::{
    inventory::{
        ClusterSource,
        cluster_profile::{ConfiguredProvider, CredentialPlugin},
    },
    pull::PullNames,
};
use image_swap_fleet::{
    EnrolmentRequest, FleetController, FleetSettings, FleetTiming,
    sources::{SEARCH_INTERVAL, SourceSettings},
};
use image_swap_testbed::{ControlPlane, Options};
use image_swap_testkit::{custom_resource, last_good};
use kube::{
    Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::{
    VALUES,
    rules::{Right, granted, of_role},
};
use crate::{
    install::{Account, FLEET, Installed},
    test_cluster::{NAMESPACE, SECRETS, TestCluster, eventually, keys, parts, release},
};

pub(super) const CLUSTERS: &str = "/api/v1/namespaces/apps/secrets";
const REPORTS: &str = "/apis/image-swap.io/v1alpha1/namespaces/apps/workloadclusters";
const STATE: &str = "/api/v1/namespaces/image-swap-fleet/configmaps/image-swap-fleet-state";
const COPY: &str = "/api/v1/namespaces/apps/secrets/pulling.declaration";
/// Role of the fleet controller for the cluster that pulls.
const PULL_ROLE: &str =
    "/apis/rbac.authorization.k8s.io/v1/namespaces/apps/roles/image-swap-pull-pulling.fleet";

/// Defines a custom resource of another project with any fields.
async fn define(cluster: &TestCluster, group: &str, kind: &str, version: &str) {
    let definition = custom_resource(group, kind, &[version]);
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    cluster.request("POST", definitions, Some(&definition));
    let plural = format!("{}s", kind.to_lowercase());
    let path = format!("/apis/{group}/{version}/namespaces/apps/{plural}");
    eventually(|| block_in_place(|| cluster.control_plane.get(&path).ok().flatten())).await;
}

/// Stores the declaration in force of the management cluster.
pub(super) fn declare(cluster: &TestCluster) {
    let secret = last_good(NAMESPACE, 1, keys("page.example.org"));
    cluster.request("POST", SECRETS, Some(&secret));
}

pub(super) fn settings() -> FleetSettings {
    FleetSettings {
        bootstrap: None,
        namespace: FLEET.to_owned(),
        release: release(),
        workload: image_swap_cluster::Release {
            namespace: "image-swap".to_owned(),
            name: "image-swap".to_owned(),
        },
        sources: SourceSettings {
            namespaces: BTreeSet::from(["apps".to_owned()]),
            selector: "".parse().unwrap(),
            sources: BTreeSet::from([
                ClusterSource::ClusterApi,
                ClusterSource::ClusterProfile,
                ClusterSource::Kubeconfig,
                ClusterSource::Pull,
            ]),
            providers: vec![ConfiguredProvider {
                name: "manager".to_owned(),
                plugin: CredentialPlugin::SecretReader,
            }],
            search_interval: SEARCH_INTERVAL,
        },
        canary: None,
        wave_size: 1,
        has_cluster_metrics: false,
        timing: FleetTiming::default(),
    }
}

/// Creates the objects of a cluster that pulls on the management cluster.
async fn enroll(cluster: &TestCluster) {
    let kubeconfig = Kubeconfig::read_from(cluster.control_plane.kubeconfig()).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
    let request = EnrolmentRequest {
        release: release(),
        names: PullNames::new("apps", "pulling").unwrap(),
        server: None,
        api_server: None,
        policy: None,
        served: BTreeSet::new(),
    };
    image_swap_fleet::enroll(&config, &request).await.unwrap();
}

/// Returns the condition `Applied` of the report about the cluster `edge`.
fn applied(cluster: &TestCluster) -> Value {
    let report = cluster.get(&format!("{REPORTS}/edge.kubeconfig")).unwrap_or_default();
    let conditions = report["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.into_iter().find(|it| it["type"] == "Applied").unwrap_or_default()
}

fn annotate(cluster: &TestCluster, path: &str, value: &str) {
    let body = json!({ "metadata": { "annotations": { "image-swap.io/fleet": value } } });
    cluster.request("PATCH", path, Some(&body));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn permissions_of_the_fleet_are_sufficient_and_used() {
    let values = format!("{VALUES}fleet: {{enabled: true, namespaces: [apps], waveSize: 1}}\n");
    let installed = Installed::with(&values).await;
    let cluster = &installed.cluster;
    define(cluster, "cluster.x-k8s.io", "Cluster", "v1beta2").await;
    define(cluster, "multicluster.x-k8s.io", "ClusterProfile", "v1alpha1").await;
    declare(cluster);
    let plane = block_in_place(|| ControlPlane::start(parts(), &Options::default())).unwrap();
    let kubeconfig = plane.administrator_kubeconfig().unwrap();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {
            "name": "edge", "labels": { "image-swap.io/fleet-cluster": "enabled" },
        },
        "stringData": { "kubeconfig": kubeconfig },
    });
    cluster.request("POST", CLUSTERS, Some(&secret));

    // A kubeconfig without a cluster is an error, which becomes an Event.
    let refused = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {
            "name": "refused", "labels": { "image-swap.io/fleet-cluster": "enabled" },
        },
        "stringData": { "kubeconfig": "{}" },
    });
    cluster.request("POST", CLUSTERS, Some(&refused));

    // The declaration of a number does not wait for the wave of another cluster.
    enroll(cluster).await;
    annotate(cluster, COPY, "1");
    let pull_rights = of_role(&cluster.get(PULL_ROLE).unwrap());

    let client = installed.client_as(Account::Fleet).await;
    let candidate = settings().candidate();
    let mut election = LeaderElection::new(&client, &candidate, "one", LeaseTiming::default());
    let controller = FleetController::new(&client, settings());
    let leadership = election.leadership();
    let election = tokio::spawn(async move { election.run().await });
    let running = tokio::spawn(async move { Box::pin(controller.run(leadership)).await });
    eventually(|| (applied(cluster)["reason"] == "InForce").then_some(())).await;
    eventually(|| cluster.get(STATE)).await;
    let is_written = |it: &Value| it["data"]["declaration"].is_string();
    eventually(|| cluster.get(COPY).filter(is_written)).await;

    // An administrator pauses the rollout and resumes it, and removes image-swap from the cluster.
    annotate(cluster, STATE, "paused");
    annotate(cluster, STATE, "resume");
    let is_ended = |it: &Value| it["metadata"]["annotations"]["image-swap.io/fleet"].is_null();
    eventually(|| cluster.get(STATE).filter(is_ended)).await;
    annotate(cluster, &format!("{CLUSTERS}/edge"), "removed");
    eventually(|| (applied(cluster)["reason"] == "Removed").then_some(())).await;
    let tokens = format!("/api/v1/namespaces/{FLEET}/secrets");
    let names = || {
        let list = cluster.get(&tokens).unwrap();
        let items = list["items"].as_array().unwrap().clone();
        items.iter().map(|it| it["metadata"]["name"].to_string()).collect::<Vec<_>>()
    };
    eventually(|| (!names().iter().any(|it| it.contains("token"))).then_some(())).await;
    for path in [&format!("{CLUSTERS}/edge"), COPY] {
        cluster.request("DELETE", path, None);
    }
    let report = format!("{REPORTS}/edge.kubeconfig");
    eventually(|| cluster.get(&report).is_none().then_some(())).await;
    running.abort();
    election.abort();
    let _ = (running.await, election.await);

    let mut rights = granted(&installed, Account::Fleet);
    rights.extend(pull_rights);
    let idle = || -> Vec<Right> {
        let (used, refused) = installed.audited(Account::Fleet);
        assert_eq!(refused, [""; 0], "the fleet controller needs more than it has");
        let is_idle = |right: &&Right| !used.iter().any(|used| right.allows(used));
        rights.iter().filter(is_idle).cloned().collect()
    };
    // A watch without events is recorded when it ends.
    let ended = eventually(|| idle().is_empty().then_some(()));
    let _ = tokio::time::timeout(Duration::from_secs(20), ended).await;
    let idle: Vec<String> = idle().iter().map(Right::text).collect();
    assert!(idle.is_empty(), "the fleet controller has what it does not use: {idle:#?}");
}
