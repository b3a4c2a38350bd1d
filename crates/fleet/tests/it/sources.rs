//! The inventory of a real API server.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use image_swap_core::fleet::{
    inventory::{
        ClusterKey, ClusterSource, EntryAccess, InventoryEntry,
        cluster_profile::{ConfiguredProvider, CredentialPlugin},
    },
    kubeconfig::RemoteCredential,
};
use image_swap_fleet::sources::{ListedInventory, SourceSettings, follow};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::{sync::watch, task::block_in_place};

use crate::hub::{Hub, NAMESPACE, OTHER, until};

const CLUSTER_API: &str = "cluster.x-k8s.io";
const MULTICLUSTER: &str = "multicluster.x-k8s.io";

fn settings() -> SourceSettings {
    SourceSettings {
        namespaces: BTreeSet::from([NAMESPACE.to_owned()]),
        selector: "stage!=test".parse().unwrap(),
        sources: BTreeSet::from([
            ClusterSource::ClusterApi,
            ClusterSource::ClusterProfile,
            ClusterSource::Kubeconfig,
        ]),
        providers: vec![ConfiguredProvider {
            name: "tokens".to_owned(),
            plugin: CredentialPlugin::SecretReader,
        }],
        search_interval: Duration::from_secs(1),
    }
}

fn key(source: ClusterSource, name: &str) -> ClusterKey {
    ClusterKey { namespace: NAMESPACE.to_owned(), source, name: name.to_owned() }
}

/// Returns the path of the objects of Cluster API in `namespace`.
fn clusters(namespace: &str) -> String {
    format!("/apis/{CLUSTER_API}/v1beta1/namespaces/{namespace}/clusters")
}

/// Creates a `Cluster` whose control plane is initialised, without its Secret.
fn add_cluster(hub: &Hub, namespace: &str, name: &str) {
    let cluster = json!({
        "apiVersion": format!("{CLUSTER_API}/v1beta1"), "kind": "Cluster",
        "metadata": { "name": name },
        "status": { "conditions": [{ "type": "ControlPlaneInitialized", "status": "True" }] },
    });
    hub.request("POST", &clusters(namespace), Some(&cluster));
}

/// Returns the Secret of the `Cluster` called `name`.
fn cluster_secret(name: &str, kubeconfig: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "cluster.x-k8s.io/secret",
        "metadata": {
            "name": format!("{name}-kubeconfig"),
            "labels": { "cluster.x-k8s.io/cluster-name": name },
        },
        "stringData": { "value": kubeconfig },
    })
}

/// Returns a Secret with the label of the fleet.
fn labelled_secret(name: &str, labels: &Value, data: &Value) -> Value {
    let mut secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": name, "labels": { "image-swap.io/fleet-cluster": "enabled" } },
        "stringData": data,
    });
    for (key, value) in labels.as_object().unwrap() {
        secret["metadata"]["labels"][key] = value.clone();
    }
    secret
}

/// Returns the version of a usable entry; `None` for another one.
fn version(entry: &InventoryEntry) -> Option<&str> {
    match &entry.access {
        EntryAccess::Usable { version, .. } => Some(version),
        EntryAccess::Waiting(_) | EntryAccess::Refused(_) | EntryAccess::Pulls => None,
    }
}

/// Waits until the entry `key` satisfies `enough`, and returns it.
async fn entry(
    inventory: &mut watch::Receiver<Arc<ListedInventory>>,
    key: &ClusterKey,
    enough: impl Fn(&InventoryEntry) -> bool,
) -> Arc<InventoryEntry> {
    let found =
        until(inventory, |it| it.clusters.get(key).is_some_and(|entry| enough(entry))).await;
    Arc::clone(&found.clusters[key])
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn inventory_follows_all_sources() {
    let hub = Hub::start().await;
    hub.define(CLUSTER_API, "Cluster", &["v1beta1"]);
    hub.define(MULTICLUSTER, "ClusterProfile", &["v1alpha1"]);
    add_cluster(&hub, NAMESPACE, "a");
    add_cluster(&hub, OTHER, "b");
    for (namespace, name) in [(NAMESPACE, "a"), (OTHER, "b")] {
        hub.put_secret(namespace, &cluster_secret(name, &hub.kubeconfig()));
    }
    let profile = json!({
        "apiVersion": format!("{MULTICLUSTER}/v1alpha1"), "kind": "ClusterProfile",
        "metadata": { "name": "p" },
        "status": { "accessProviders": [{ "name": "tokens", "cluster": {
            "server": "https://p.example.org",
            "extensions": [{
                "name": "client.authentication.k8s.io/exec",
                "extension": { "clusterName": "p-token" },
            }],
        } }] },
    });
    let profiles = format!("/apis/{MULTICLUSTER}/v1alpha1/namespaces/{NAMESPACE}/clusterprofiles");
    hub.request("POST", &profiles, Some(&profile));
    let token = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": "p-token", "labels": { "image-swap.io/fleet-credential": "enabled" } },
        "stringData": { "token": "s3cret-of-p" },
    });
    hub.put_secret(NAMESPACE, &token);
    let usable = json!({ "kubeconfig": hub.kubeconfig() });
    let data = json!({ "config": "{}" });
    hub.put_secret(NAMESPACE, &labelled_secret("imported", &json!({}), &usable));
    hub.put_secret(NAMESPACE, &labelled_secret("broken", &json!({}), &data));
    hub.put_secret(NAMESPACE, &labelled_secret("unselected", &json!({ "stage": "test" }), &usable));
    hub.put_secret(OTHER, &labelled_secret("imported", &json!({}), &usable));

    let (mut inventory, _tasks) = follow(hub.client.clone(), settings());
    assert!(inventory.borrow().clusters.is_empty());
    inventory.changed().await.unwrap();
    let first = inventory.borrow_and_update().clusters.clone();
    let (a, p) = (key(ClusterSource::ClusterApi, "a"), key(ClusterSource::ClusterProfile, "p"));
    let imported = key(ClusterSource::Kubeconfig, "imported");
    let broken = key(ClusterSource::Kubeconfig, "broken");
    let all = BTreeSet::from([&a, &p, &imported, &broken]);
    assert_eq!(first.keys().collect::<BTreeSet<_>>(), all);
    assert!(version(&first[&a]).is_some() && version(&first[&imported]).is_some());
    assert_eq!(first[&a].origin.api_version, "cluster.x-k8s.io/v1beta1");
    let EntryAccess::Usable { access, .. } = &first[&p].access else {
        panic!("{:?}", first[&p].access);
    };
    assert_eq!(access.server, "https://p.example.org");
    assert_eq!(access.credential, RemoteCredential::Token("s3cret-of-p".into()));
    let reason = "the Secret broken: key config: current-context: missing; set it";
    assert_eq!(first[&broken].access, EntryAccess::Refused(reason.into()));

    // An entry that did not change is shared with the last inventory.
    let before = version(&first[&a]).unwrap().to_owned();
    hub.put_secret(NAMESPACE, &cluster_secret("a", &format!("{} ", hub.kubeconfig())));
    entry(&mut inventory, &a, |it| version(it).is_some_and(|version| version != before)).await;
    assert!(Arc::ptr_eq(&first[&p], &inventory.borrow().clusters[&p]));

    let override_ = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "registry-info" },
        "stringData": { "DOMAIN": "harbor.example.org" },
    });
    hub.put_secret(NAMESPACE, &override_);
    let seen =
        until(&mut inventory, |it| it.clusters.values().all(|it| it.registry_info.is_some())).await;
    let info = seen.clusters[&a].registry_info.clone().unwrap();
    assert_eq!(info.data["DOMAIN"], b"harbor.example.org");

    hub.request("DELETE", &format!("/api/v1/namespaces/{NAMESPACE}/secrets/a-kubeconfig"), None);
    let waiting = EntryAccess::Waiting("the Secret a-kubeconfig does not exist".into());
    entry(&mut inventory, &a, |it| it.access == waiting).await;
    hub.request("DELETE", &format!("{}/a", clusters(NAMESPACE)), None);
    hub.request("DELETE", &format!("{profiles}/p"), None);
    let unlabelled = json!({ "metadata": { "labels": { "image-swap.io/fleet-cluster": null } } });
    let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets/imported");
    hub.request("PATCH", &path, Some(&unlabelled));
    until(&mut inventory, |it| it.clusters.keys().eq([&broken])).await;
}

/// Returns a `ClusterProfile` of `version` whose provider has the extension `extension`.
fn profile(version: &str, name: &str, provider: &str, extension: &Value) -> Value {
    json!({
        "apiVersion": format!("{MULTICLUSTER}/{version}"), "kind": "ClusterProfile",
        "metadata": { "name": name },
        "status": { "accessProviders": [{ "name": provider, "cluster": {
            "server": format!("https://{name}.example.org"),
            "extensions": [{ "name": "client.authentication.k8s.io/exec", "extension": extension }],
        } }] },
    })
}

/// Returns a Secret whose credential goes to the servers of profiles.
fn credential_secret(name: &str, data: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": name, "labels": { "image-swap.io/fleet-credential": "enabled" } },
        "stringData": data,
    })
}

/// Returns server and token of a usable entry; `None` for another one.
fn token(entry: &InventoryEntry) -> Option<(&str, &str)> {
    let EntryAccess::Usable { access, .. } = &entry.access else { return None };
    let RemoteCredential::Token(token) = &access.credential else { return None };
    Some((&access.server, token))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn profiles_of_both_versions_use_both_plugins() {
    let hub = Hub::start().await;
    let mut settings = settings();
    settings.providers.push(ConfiguredProvider {
        name: "kubeconfigs".to_owned(),
        plugin: CredentialPlugin::KubeconfigSecretReader,
    });
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "a",
        "contexts": [{ "name": "a", "context": { "cluster": "a", "user": "a" } }],
        "clusters": [{ "name": "a", "cluster": { "server": "https://inside.example.org" } }],
        "users": [{ "name": "a", "user": { "token": "token-of-user" } }],
    });
    let data = json!({ "token": "token-of-secret", "config": kubeconfig.to_string() });
    hub.put_secret(NAMESPACE, &credential_secret("shared", &data));
    let plugins = [
        ("one", "tokens", json!({ "clusterName": "shared" }), "token-of-secret"),
        ("two", "kubeconfigs", json!({ "name": "shared", "key": "config" }), "token-of-user"),
    ];
    let (mut inventory, _tasks) = follow(hub.client.clone(), settings);
    // The newest version that is served counts.
    for versions in [&["v1alpha1"][..], &["v1alpha1", "v1alpha2"]] {
        hub.define(MULTICLUSTER, "ClusterProfile", versions);
        let version = versions[versions.len() - 1];
        for (name, provider, extension, expected) in &plugins {
            let list =
                format!("/apis/{MULTICLUSTER}/{version}/namespaces/{NAMESPACE}/clusterprofiles");
            if versions.len() == 1 {
                hub.request("POST", &list, Some(&profile(version, name, provider, extension)));
            }
            let server = format!("https://{name}.example.org");
            let api_version = format!("{MULTICLUSTER}/{version}");
            let is_wanted = |it: &InventoryEntry| {
                it.origin.api_version == api_version
                    && token(it) == Some((server.as_str(), *expected))
            };
            entry(&mut inventory, &key(ClusterSource::ClusterProfile, name), is_wanted).await;
        }
    }

    // Without the label, the credential stays here.
    let mut unlabelled = credential_secret("shared", &data);
    unlabelled["metadata"]["labels"] = json!({});
    hub.put_secret(NAMESPACE, &unlabelled);
    let is_refused = |it: &InventoryEntry| matches!(&it.access, EntryAccess::Refused(reason) if reason.contains("fleet-credential"));
    entry(&mut inventory, &key(ClusterSource::ClusterProfile, "one"), is_refused).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn api_is_followed_once_it_is_served() {
    let hub = Hub::start().await;
    // The group of ClusterProfile is that of other kinds, too.
    hub.define(MULTICLUSTER, "ServiceImport", &["v1alpha1"]);
    let (mut inventory, _tasks) = follow(hub.client.clone(), settings());
    inventory.changed().await.unwrap();
    assert!(inventory.borrow_and_update().clusters.is_empty());

    hub.define(CLUSTER_API, "Cluster", &["v1beta1"]);
    add_cluster(&hub, NAMESPACE, "a");
    let a = key(ClusterSource::ClusterApi, "a");
    let found = entry(&mut inventory, &a, |_| true).await;
    assert_eq!(found.origin.api_version, "cluster.x-k8s.io/v1beta1");
    hub.define(CLUSTER_API, "Cluster", &["v1beta1", "v1beta2"]);
    entry(&mut inventory, &a, |it| it.origin.api_version == "cluster.x-k8s.io/v1beta2").await;

    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/clusters.cluster.x-k8s.io";
    hub.request("DELETE", path, None);
    until(&mut inventory, |it| it.clusters.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn inventory_outlives_the_api_server() {
    let mut hub = Hub::start().await;
    hub.define(CLUSTER_API, "Cluster", &["v1beta1"]);
    add_cluster(&hub, NAMESPACE, "a");
    let data = json!({ "value": hub.kubeconfig() });
    hub.put_secret(NAMESPACE, &labelled_secret("imported", &json!({}), &data));
    let (mut inventory, _tasks) = follow(hub.client.clone(), settings());
    let imported = key(ClusterSource::Kubeconfig, "imported");
    let first = entry(&mut inventory, &imported, |it| version(it).is_some()).await;
    block_in_place(|| hub.control_plane.power_off().unwrap());
    assert!(!inventory.has_changed().unwrap());
    block_in_place(|| hub.control_plane.wait_ready().unwrap());
    let data = json!({ "value": format!("{} ", hub.kubeconfig()) });
    hub.put_secret(NAMESPACE, &labelled_secret("imported", &json!({}), &data));
    // An API server that has just started may not serve custom resources yet.
    let a = key(ClusterSource::ClusterApi, "a");
    until(&mut inventory, |it| {
        assert!(it.clusters.contains_key(&a), "{:?}", it.clusters.keys());
        let found = version(&it.clusters[&imported]);
        found.is_some() && found != version(&first)
    })
    .await;
}

/// Returns a client that may read Secrets in [`NAMESPACE`] alone.
async fn limited_client(hub: &Hub) -> Client {
    let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}");
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": { "name": "fleet" },
        "rules": [{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch"] }],
    });
    hub.request("POST", &format!("{rbac}/roles"), Some(&role));
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": { "name": "fleet" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "fleet" },
        "subjects": [{ "kind": "User", "name": "fleet", "apiGroup": "rbac.authorization.k8s.io" }],
    });
    hub.request("POST", &format!("{rbac}/rolebindings"), Some(&binding));
    let kubeconfig = Some(hub.control_plane.kubeconfig());
    let mut config: Config = image_swap_cluster::config(kubeconfig).await.unwrap();
    config.auth_info.impersonate = Some("fleet".to_owned());
    config.auth_info.impersonate_groups = Some(vec!["system:authenticated".to_owned()]);
    image_swap_cluster::connect(config).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn roles_of_one_namespace_suffice_for_it() {
    let hub = Hub::start().await;
    let data = json!({ "value": hub.kubeconfig() });
    for namespace in [NAMESPACE, OTHER] {
        hub.put_secret(namespace, &labelled_secret("imported", &json!({}), &data));
    }
    let client = limited_client(&hub).await;
    let mut settings = settings();
    settings.namespaces.insert(OTHER.to_owned());
    let (mut inventory, _tasks) = follow(client, settings);
    inventory.changed().await.unwrap();
    let seen = inventory.borrow_and_update().clusters.clone();
    assert!(seen.keys().eq([&key(ClusterSource::Kubeconfig, "imported")]), "{:?}", seen.keys());
}
