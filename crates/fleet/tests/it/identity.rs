//! Entries, their clusters and their tokens.

use std::{collections::BTreeSet, time::Duration};

use image_swap_cluster::{client, config, connect};
use image_swap_core::fleet::inventory::ClusterSource;
use image_swap_fleet::FleetSettings;
use kube::Client;
use serde_json::{Value, json};

use crate::{
    fake::{ADMINISTRATOR, FakeServer, uid},
    fleet::{FLEET, Fleet, REGISTRY_INFO, RELEASE, apply, condition, kubectl, report, wait_until},
    hub::{NAMESPACE, OTHER},
};

/// Checks that a stand-in received no token that another server issued.
fn check_tokens(server: &FakeServer, name: &str) {
    let own = format!("issued-{}-", uid(name));
    let is_own = |token: &str| token == ADMINISTRATOR || token.starts_with(&own);
    let requests = server.requests();
    assert!(requests.iter().all(|it| is_own(&it.token)), "{requests:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn entry_with_another_cluster_begins_again() {
    let mut fleet = Fleet::prepare(0);
    let old = FakeServer::start("old").await;
    let new = FakeServer::start("new").await;
    let outside = FakeServer::start("outside").await;
    fleet.planes.hub.create_namespace(OTHER).unwrap();
    fleet.enter_in(OTHER, "outside", &outside.kubeconfig(ADMINISTRATOR));
    fleet.enter("old", &old.kubeconfig(ADMINISTRATOR));
    fleet.lead(|_| {}).await;
    fleet.wait_fake("old", &old, 1, "one");
    fleet.enter("new", &new.kubeconfig(ADMINISTRATOR));
    fleet.wait_fake("new", &new, 1, "one");

    // The management cluster itself.
    let own = std::fs::read_to_string(fleet.planes.hub.kubeconfig()).unwrap();
    fleet.enter("own", &own);
    let status = fleet.wait_applied("own", "Refused");
    let message = condition(&status, "Applied")["message"].to_string();
    assert!(message.contains("management cluster"), "{message}");
    assert!(fleet.planes.hub.get(REGISTRY_INFO).unwrap().is_none());

    // Another cluster takes the address, and accepts the same tokens.
    old.replace("replaced");
    fleet.wait_fake("old", &old, 1, "one");
    fleet.wait("old", "replaced", |status| status["clusterUid"] == uid("replaced"));
    // The server claims to be a known cluster: nothing reaches it.
    old.replace("new");
    let status = fleet.wait_applied("old", "Duplicate");
    assert!(status.get("clusterUid").is_none(), "{status}");
    fleet.declare(2, "two");
    fleet.wait_fake("new", &new, 2, "two");
    assert!(old.objects().is_empty(), "{:?}", old.objects());
    // The older report must not make it the known one after a restart.
    fleet.lead(|_| {}).await;
    fleet.declare(3, "three");
    fleet.wait_fake("new", &new, 3, "three");
    fleet.wait_applied("old", "Duplicate");
    assert!(old.objects().is_empty(), "{:?}", old.objects());

    // Its kubeconfig is replaced by that of a third cluster, which gets no token of another one.
    let third = FakeServer::start("third").await;
    fleet.enter("old", &third.kubeconfig(ADMINISTRATOR));
    fleet.wait_fake("old", &third, 3, "three");
    check_tokens(&third, "third");
    // A cluster in force is replaced by a fourth one in the same way.
    let fourth = FakeServer::start("fourth").await;
    fleet.enter("new", &fourth.kubeconfig(ADMINISTRATOR));
    fleet.wait_fake("new", &fourth, 3, "three");
    check_tokens(&fourth, "fourth");

    // A release that is installed again counts from 1.
    fleet.declare(1, "again");
    fleet.wait_fake("new", &fourth, 1, "again");
    // An entry outside of the namespaces received nothing at all.
    assert_eq!(outside.requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn update_reaches_no_other_cluster_at_the_address() {
    let mut fleet = Fleet::prepare(0);
    let [old, new] = [FakeServer::start("old").await, FakeServer::start("new").await];
    fleet.enter("new", &new.kubeconfig(ADMINISTRATOR));
    fleet.enter("old", &old.kubeconfig(ADMINISTRATOR));
    // No comparison notices the other cluster before the update.
    fleet.lead(|settings| settings.timing.compare = Duration::from_hours(1)).await;
    fleet.wait_fake("new", &new, 1, "one");
    fleet.wait_fake("old", &old, 1, "one");
    old.replace("new");
    fleet.declare(2, "two");
    fleet.wait_applied("old", "Duplicate");
    assert!(old.objects().is_empty(), "{:?}", old.objects());
    fleet.wait_fake("new", &new, 2, "two");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn claimed_identity_displaces_no_cluster() {
    let mut fleet = Fleet::prepare(0);
    let server = FakeServer::start("victim").await;
    // A cluster that pulls reports the identity of one that is not entered yet.
    let summary = json!({ "clusterUid": uid("victim"), "registryInfoRevision": 1 }).to_string();
    let objects = json!({ "apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {
                "name": "edge.declaration", "namespace": NAMESPACE,
                "labels": { "image-swap.io/fleet-cluster": "pull" },
            },
        },
        {
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {
                "name": "edge.heartbeat", "namespace": NAMESPACE,
                "annotations": { "image-swap.io/summary": summary },
            },
        },
    ] });
    apply(&fleet.planes.hub, &objects.to_string());
    let both = |settings: &mut FleetSettings| {
        settings.sources.sources = [ClusterSource::Kubeconfig, ClusterSource::Pull].into();
    };
    fleet.lead(both).await;
    let claimant = report(NAMESPACE, "edge").replace(".kubeconfig", ".pull");
    fleet.wait_report(&claimant, "a claim", |status| status["clusterUid"] == uid("victim"));
    fleet.enter("victim", &server.kubeconfig(ADMINISTRATOR));
    fleet.wait_fake("victim", &server, 1, "one");
    let is_duplicate = |status: &Value| condition(status, "Applied")["reason"] == "Duplicate";
    fleet.wait_report(&claimant, "a duplicate", is_duplicate);
}

/// Allows the user `fleet` everything in the namespaces but reading Secrets in [`OTHER`].
fn grant(fleet: &Fleet) {
    let hub = &fleet.planes.hub;
    for namespace in [NAMESPACE, RELEASE, FLEET] {
        let role = "--clusterrole=cluster-admin";
        kubectl(hub, &["create", "rolebinding", "fleet", role, "--user=fleet", "-n", namespace]);
    }
    let resources = "--resource=workloadclusters,workloadclusters/status";
    let verbs = "--verb=get,list,watch,create,patch,delete";
    kubectl(hub, &["create", "role", "fleet", resources, verbs, "-n", OTHER]);
    kubectl(hub, &["create", "rolebinding", "fleet", "--role=fleet", "--user=fleet", "-n", OTHER]);
}

/// Returns a client of the management cluster with the rights of the user `fleet`.
async fn limited(fleet: &Fleet) -> Client {
    let mut config = config(Some(fleet.planes.hub.kubeconfig())).await.unwrap();
    config.auth_info.impersonate = Some("fleet".to_owned());
    config.auth_info.impersonate_groups = Some(vec!["system:authenticated".to_owned()]);
    connect(config).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn foreign_namespace_is_a_conflict() {
    const PATH: &str = "/api/v1/namespaces/image-swap";

    let mut fleet = Fleet::prepare(0);
    let server = FakeServer::start("a").await;
    let annotations = json!({ "meta.helm.sh/release-name": "other" });
    let metadata = json!({ "name": "image-swap", "annotations": annotations });
    server.put(PATH, json!({ "metadata": metadata }));
    fleet.enter("a", &server.kubeconfig(ADMINISTRATOR));
    fleet.lead(|_| {}).await;
    let status = fleet.wait_applied("a", "Conflict");
    let message = condition(&status, "Applied")["message"].to_string();
    let expected = "Namespace image-swap belongs to another Helm release";
    assert!(message.contains(expected), "{message}");
    assert!(server.get(REGISTRY_INFO).is_none(), "{:?}", server.objects());
    // It is no error of the fleet controller: the next comparison goes on.
    server.remove(PATH);
    fleet.wait_fake("a", &server, 1, "one");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn unread_token_is_read_again() {
    let mut fleet = Fleet::prepare(0);
    let server = fleet.enter_fake("a").await;
    fleet.lead(|_| {}).await;
    fleet.wait_fake("a", &server, 1, "one");
    fleet.kill().await;
    // The stored token is the only credential left, and the next leader cannot read it yet.
    server.refuse(|token| token == ADMINISTRATOR);
    let allow = |resource: &str, verbs: &[&str], names: &[&str]| {
        json!({
            "apiGroups": [""], "resources": [resource], "verbs": verbs, "resourceNames": names,
        })
    };
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": { "name": "limited", "namespace": FLEET },
        "rules": [
            allow("configmaps", &["*"], &[]),
            allow("secrets", &["list", "watch", "create", "patch", "delete"], &[]),
            allow("secrets", &["get"], &["image-swap-fleet-history"]),
        ],
    });
    apply(&fleet.planes.hub, &role.to_string());
    let bind = |name: &str, role: &str, namespace: &str| {
        let binding = ["create", "rolebinding", name, role, "--user=fleet", "-n", namespace];
        kubectl(&fleet.planes.hub, &binding);
    };
    bind("limited", "--role=limited", FLEET);
    for namespace in [NAMESPACE, RELEASE] {
        bind("all", "--clusterrole=cluster-admin", namespace);
    }
    let limited = limited(&fleet).await;
    fleet.lead_by(&limited, |_| {}).await;
    fleet.wait_applied("a", "Unreachable");
    let all = ["create", "rolebinding", "all", "--clusterrole=cluster-admin", "--user=fleet"];
    kubectl(&fleet.planes.hub, &[&all[..], &["-n", FLEET]].concat());
    fleet.declare(2, "two");
    fleet.wait_fake("a", &server, 2, "two");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn cluster_is_forgotten_with_its_entry_alone() {
    let mut fleet = Fleet::prepare(0);
    let (kept, away) = (FakeServer::start("kept").await, FakeServer::start("away").await);
    fleet.planes.hub.create_namespace(OTHER).unwrap();
    fleet.enter("kept", &kept.kubeconfig(ADMINISTRATOR));
    fleet.enter_in(OTHER, "away", &away.kubeconfig(ADMINISTRATOR));
    let both = || BTreeSet::from([NAMESPACE.to_owned(), OTHER.to_owned()]);
    fleet.lead(|settings| settings.sources.namespaces = both()).await;
    fleet.wait_fake("kept", &kept, 1, "one");
    let is_applied = |status: &Value| condition(status, "Applied")["status"] == "True";
    let before = fleet.wait_in(OTHER, "away", "applied", is_applied);
    let names = ["clusters/kept.kubeconfig", "other/away.kubeconfig"].map(str::to_owned);
    assert!(fleet.tokens().into_keys().eq(names.clone()));

    // The next leader may not list one of the namespaces.
    grant(&fleet);
    let limited = limited(&fleet).await;
    fleet.lead_by(&limited, |settings| settings.sources.namespaces = both()).await;
    fleet.declare(2, "two");
    fleet.wait_fake("kept", &kept, 2, "two");
    let stays = |status: &Value| *status == before;
    fleet.wait_in(OTHER, "away", "unchanged", stays);
    assert!(fleet.tokens().into_keys().eq(names.clone()));
    // The reports there cannot be read either: the other cluster is kept in force all the same.
    kubectl(&fleet.planes.hub, &["delete", "rolebinding", "fleet", "-n", OTHER]);
    fleet.lead_by(&limited, |settings| settings.sources.namespaces = both()).await;
    fleet.declare(3, "three");
    fleet.wait_fake("kept", &kept, 3, "three");

    // The next leader may list both again.
    let all = client(Some(fleet.planes.hub.kubeconfig())).await.unwrap();
    fleet.lead_by(&all, |settings| settings.sources.namespaces = both()).await;
    let path = report(OTHER, "away");
    fleet.wait_in(OTHER, "away", "up to date", |status| status["appliedRevision"] == 3);
    // The history is deleted: the next declaration creates it again.
    let history = "image-swap-fleet-history";
    kubectl(&fleet.planes.hub, &["delete", "secret", history, "-n", FLEET]);
    fleet.declare(4, "four");
    fleet.wait_fake("kept", &kept, 4, "four");

    // An entry goes while the controller runs, another one while it does not.
    kubectl(&fleet.planes.hub, &["delete", "secret", "kept", "-n", NAMESPACE]);
    let tokens = |wanted: &[String]| {
        let found = fleet.tokens();
        if found.keys().eq(wanted) { Ok(()) } else { Err(format!("{:?}", found.keys())) }
    };
    wait_until("one token", || tokens(&names[1..]));
    assert!(fleet.planes.hub.get(&report(NAMESPACE, "kept")).unwrap().is_none());
    let requests = kept.requests().len();
    fleet.kill().await;
    kubectl(&fleet.planes.hub, &["delete", "secret", "away", "-n", OTHER]);
    fleet.lead(|settings| settings.sources.namespaces = both()).await;
    let tokens = || {
        let found = fleet.tokens();
        if found.is_empty() { Ok(()) } else { Err(format!("{:?}", found.keys())) }
    };
    wait_until("no token", tokens);
    assert!(fleet.planes.hub.get(&path).unwrap().is_none());
    assert_eq!(kept.requests().len(), requests, "a forgotten cluster gets no request");
    assert!(kept.get(REGISTRY_INFO).is_some(), "its declaration stays");
}
