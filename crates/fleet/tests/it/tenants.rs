//! Namespaces with declarations and profiles of their own.

use std::collections::BTreeSet;

use image_swap_core::fleet::inventory::{
    ClusterSource,
    cluster_profile::{ConfiguredProvider, CredentialPlugin},
};
use image_swap_fleet::FleetSettings;
use image_swap_testkit::{custom_resource, registry_keys};
use image_swap_text::base64;
use serde_json::{Map, Value, json};

use crate::{
    fake::{ADMINISTRATOR, FakeServer},
    fleet::{FLEET, Fleet, REGISTRY_INFO, apply, condition, kubectl, report, text, wait_until},
    hub::{NAMESPACE, OTHER},
};

const MULTICLUSTER: &str = "multicluster.x-k8s.io";
/// Bytes of a declaration of which one Secret contains no two.
const LONG: usize = 600 * 1024;
/// Namespaces of tenants.
const TENANTS: [&str; 2] = [OTHER, "another"];

fn all(settings: &mut FleetSettings) {
    let names = [&[NAMESPACE][..], &TENANTS].concat();
    settings.sources.namespaces = names.into_iter().map(str::to_owned).collect();
}

/// Writes the Secret `registry-info` of `namespace`, with `length` bytes of comments.
fn declare_beside(fleet: &Fleet, namespace: &str, path: &str, length: usize) {
    let keys = registry_keys(path).map(|(key, value)| (key.to_owned(), Value::from(value)));
    let mut data: Map<String, Value> = keys.into_iter().collect();
    let rules = data["MIRROR_REGISTRIES"].as_str().unwrap_or_default();
    let comment = format!("# {}\n", "x".repeat(97));
    let long = format!("{}{rules}", comment.repeat(length.div_ceil(comment.len())));
    data.insert("MIRROR_REGISTRIES".to_owned(), long.into());
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": "registry-info", "namespace": namespace },
        "stringData": data,
    });
    apply(&fleet.planes.hub, &secret.to_string());
}

/// Waits until a stand-in has the declaration `revision` with the folder `path`.
fn wait_fake(server: &FakeServer, revision: u64, path: &str) {
    wait_until(&format!("declaration {revision}"), || {
        let secret = server.get(REGISTRY_INFO).unwrap_or_default();
        let stored = &secret["metadata"]["annotations"]["image-swap.io/revision"];
        let has_path = text(&secret, "MIRROR_REGISTRIES").ends_with(path);
        if stored.as_str() == Some(&revision.to_string()) && has_path {
            Ok(())
        } else {
            Err(secret["metadata"].to_string())
        }
    });
}

/// Returns the namespaces whose declarations the fleet controller has stored.
fn stored(fleet: &Fleet) -> BTreeSet<String> {
    let path = format!("/api/v1/namespaces/{FLEET}/secrets");
    let found = fleet.planes.hub.get(&path).unwrap().unwrap_or_default();
    let names = found["items"].as_array().into_iter().flatten();
    let prefix = "image-swap-fleet-declaration-";
    let namespace =
        |it: &Value| Some(it["metadata"]["name"].as_str()?.strip_prefix(prefix)?.into());
    names.filter_map(namespace).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn long_declarations_of_tenants_delay_no_cluster() {
    let mut fleet = Fleet::prepare(0);
    let server = fleet.enter_fake("a").await;
    let mut servers = Vec::new();
    for tenant in TENANTS {
        fleet.planes.hub.create_namespace(tenant).unwrap();
        let server = FakeServer::start(tenant).await;
        fleet.enter_in(tenant, "own", &server.kubeconfig(ADMINISTRATOR));
        declare_beside(&fleet, tenant, tenant, LONG);
        servers.push(server);
    }
    fleet.lead(all).await;
    fleet.wait_fake("a", &server, 1, "one");
    for (tenant, own) in TENANTS.iter().zip(&servers) {
        wait_fake(own, 1, tenant);
    }
    declare_beside(&fleet, OTHER, "changed", LONG);
    fleet.declare(2, "two");
    fleet.wait_fake("a", &server, 2, "two");
    wait_fake(&servers[0], 2, "changed");

    let is_reported = |status: &Value| condition(status, "Applied")["reason"] == "InForce";
    fleet.wait_in(TENANTS[1], "own", "reported", is_reported);
    // The next leader knows the numbers, and forgets a namespace that left the fleet.
    assert_eq!(stored(&fleet), TENANTS.map(str::to_owned).into());
    fleet.lead(|settings| settings.sources.namespaces = BTreeSet::from([OTHER.to_owned()])).await;
    declare_beside(&fleet, OTHER, "again", 0);
    wait_fake(&servers[0], 3, "again");
    assert_eq!(stored(&fleet), BTreeSet::from([OTHER.to_owned()]));
    // Its report stays until an administrator deletes it, and does not come back.
    let path = report(TENANTS[1], "own");
    assert!(fleet.planes.hub.get(&path).unwrap().is_some());
    kubectl(&fleet.planes.hub, &["delete", "workloadclusters", "--all", "-n", TENANTS[1]]);
    declare_beside(&fleet, OTHER, "later", 0);
    wait_fake(&servers[0], 4, "later");
    assert!(fleet.planes.hub.get(&path).unwrap().is_none());
}

/// Waits until the condition `kind` of a tenant's cluster has `reason`, and returns its message.
fn wait_reason(fleet: &Fleet, kind: &str, reason: &str) -> String {
    let has_reason = |status: &Value| condition(status, kind)["reason"] == reason;
    let status = fleet.wait_in(OTHER, "own", reason, has_reason);
    assert!(!status.to_string().contains("hunter2"), "{status}");
    assert!(status["lastError"].to_string().contains("registry-info"), "{status}");
    condition(&status, kind)["message"].to_string()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn invalid_declaration_of_a_tenant_changes_nothing() {
    let mut fleet = Fleet::prepare(0);
    let (server, own) = (FakeServer::start("a").await, FakeServer::start("own").await);
    fleet.planes.hub.create_namespace(OTHER).unwrap();
    fleet.enter("a", &server.kubeconfig(ADMINISTRATOR));
    fleet.enter_in(OTHER, "own", &own.kubeconfig(ADMINISTRATOR));
    let invalid = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": "registry-info", "namespace": OTHER },
        "stringData": { "PASSWORD": "hunter2-hunter2", "MIRROR_REGISTRIES": "docker.io" },
    })
    .to_string();
    apply(&fleet.planes.hub, &invalid);
    fleet.lead(all).await;
    fleet.wait_fake("a", &server, 1, "one");
    let message = wait_reason(&fleet, "Applied", "Refused");
    assert!(message.contains("registry-info of the namespace is invalid"), "{message}");
    assert!(own.objects().is_empty(), "{:?}", own.objects());

    declare_beside(&fleet, OTHER, "valid", 0);
    wait_fake(&own, 1, "valid");
    kubectl(&fleet.planes.hub, &["delete", "secret", "registry-info", "--namespace", OTHER]);
    wait_fake(&own, 1, "one");
    declare_beside(&fleet, OTHER, "again", 0);
    wait_fake(&own, 2, "again");
    own.beat(&json!({ "registryInfoRevision": 2, "webhook": "Fail" }));
    apply_invalid_over_valid(&fleet, &invalid);
    let message = wait_reason(&fleet, "Healthy", "DeclarationRefused");
    assert!(message.contains("the last valid declaration stays in force"), "{message}");
    // So it does for the next leader.
    fleet.lead(all).await;
    fleet.declare(2, "two");
    fleet.wait_fake("a", &server, 2, "two");
    wait_reason(&fleet, "Healthy", "DeclarationRefused");
    wait_fake(&own, 2, "again");
}

/// Defines the custom resource of profiles, and waits until the API server serves it.
fn define_profiles(fleet: &Fleet) {
    let definition = custom_resource(MULTICLUSTER, "ClusterProfile", &["v1alpha2"]);
    apply(&fleet.planes.hub, &definition.to_string());
    let name = format!("customresourcedefinition/clusterprofiles.{MULTICLUSTER}");
    kubectl(&fleet.planes.hub, &["wait", &name, "--for=condition=Established", "--timeout=60s"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn profile_brings_the_declaration_to_its_server() {
    let mut fleet = Fleet::prepare(0);
    let server = FakeServer::start("p").await;
    define_profiles(&fleet);
    let extension = json!({ "name": "credential", "key": "config", "context": "fake" });
    let profile = json!({
        "apiVersion": format!("{MULTICLUSTER}/v1alpha2"), "kind": "ClusterProfile",
        "metadata": { "name": "p", "namespace": NAMESPACE },
        "status": { "accessProviders": [{ "name": "manager", "cluster": {
            "server": server.url,
            "certificate-authority-data": base64::encode(&server.authority),
            "extensions": [{ "name": "client.authentication.k8s.io/exec", "extension": extension }],
        } }] },
    });
    apply(&fleet.planes.hub, &profile.to_string());
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {
            "name": "credential", "namespace": NAMESPACE,
            "labels": { "image-swap.io/fleet-credential": "enabled" },
        },
        "stringData": { "config": server.kubeconfig(ADMINISTRATOR) },
    });
    apply(&fleet.planes.hub, &secret.to_string());
    fleet
        .lead(|settings| {
            settings.sources.sources = BTreeSet::from([ClusterSource::ClusterProfile]);
            settings.sources.providers = vec![ConfiguredProvider {
                name: "manager".to_owned(),
                plugin: CredentialPlugin::KubeconfigSecretReader,
            }];
        })
        .await;
    wait_fake(&server, 1, "one");
    let path = report(NAMESPACE, "p").replace(".kubeconfig", ".clusterprofile");
    wait_until("the report", || {
        let object = fleet.planes.hub.get(&path).ok().flatten().unwrap_or_default();
        let is_applied = condition(&object["status"], "Applied")["reason"] == "InForce";
        if is_applied { Ok(()) } else { Err(object.to_string()) }
    });
    fleet.declare(2, "two");
    wait_fake(&server, 2, "two");
}

/// Replaces a valid Secret, without the keys that it had.
fn apply_invalid_over_valid(fleet: &Fleet, invalid: &str) {
    let path = format!("/api/v1/namespaces/{OTHER}/secrets/registry-info");
    let secret: Value = serde_json::from_str(invalid).unwrap();
    let replaced = fleet.planes.hub.request("PUT", &path, Some(&secret)).unwrap();
    assert_eq!(replaced.status, 200, "{}", replaced.body);
}
