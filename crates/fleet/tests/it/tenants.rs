//! Namespaces with declarations of their own.

use std::collections::BTreeSet;

use image_swap_fleet::FleetSettings;
use image_swap_testkit::registry_keys;
use serde_json::{Map, Value, json};

use crate::{
    fake::{ADMINISTRATOR, FakeServer},
    fleet::{FLEET, Fleet, REGISTRY_INFO, apply, text, wait_until},
    hub::{NAMESPACE, OTHER},
};

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
    let server = FakeServer::start("a").await;
    fleet.enter("a", &server.kubeconfig(ADMINISTRATOR));
    let mut servers = Vec::new();
    for tenant in TENANTS {
        fleet.planes.hub.create_namespace(tenant).unwrap();
        let server = FakeServer::start(tenant).await;
        fleet.enter_in(tenant, "own", &server.kubeconfig(ADMINISTRATOR));
        declare_beside(&fleet, tenant, tenant, 800 * 1024);
        servers.push(server);
    }
    fleet.lead(all).await;
    fleet.wait_fake("a", &server, 1, "one");
    for (tenant, own) in TENANTS.iter().zip(&servers) {
        wait_fake(own, 1, tenant);
    }
    declare_beside(&fleet, OTHER, "changed", 800 * 1024);
    fleet.declare(2, "two");
    fleet.wait_fake("a", &server, 2, "two");
    wait_fake(&servers[0], 2, "changed");

    // The next leader knows the numbers, and forgets a namespace that left the fleet.
    assert_eq!(stored(&fleet), TENANTS.map(str::to_owned).into());
    fleet.lead(|settings| settings.sources.namespaces = BTreeSet::from([OTHER.to_owned()])).await;
    declare_beside(&fleet, OTHER, "again", 0);
    wait_fake(&servers[0], 3, "again");
    assert_eq!(stored(&fleet), BTreeSet::from([OTHER.to_owned()]));
}
