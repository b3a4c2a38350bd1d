//! The addresses behind a Service, read from its `EndpointSlice`s.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use image_swap_core::{labels, status::cluster_summary::ReplicaCount};
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kube::{
    Client,
    api::{DynamicObject, ListParams},
};
use serde_json::Value;

use crate::{
    api::{get, namespaced},
    error::Error,
};

/// Returns true if a Service has an endpoint that may be called.
pub(crate) async fn has_endpoints(
    client: &Client,
    namespace: &str,
    service: &str,
) -> Result<bool, Error> {
    let slices = slices(client, namespace, service).await?;
    Ok(slices.iter().any(|slice| ready(slice).next().is_some()))
}

/// Returns true if a program may answer at a Service: it has an endpoint that may be
/// called, or it is a name outside the cluster. Of the latter Kubernetes keeps no
/// `EndpointSlice`s, and API servers call such a webhook at that name.
pub(crate) async fn may_answer(
    client: &Client,
    namespace: &str,
    service: &str,
) -> Result<bool, Error> {
    // Another program's registration may name a Service that cannot exist.
    if !is_name(namespace) || !is_name(service) {
        return Ok(false);
    }
    if has_endpoints(client, namespace, service).await? {
        return Ok(true);
    }
    let services = namespaced::<Service, DynamicObject>(client, namespace);
    let found = get(&services, service).await?;
    Ok(found.is_some_and(|service| service.data["spec"]["type"] == "ExternalName"))
}

/// Returns the numbers of endpoints of a Service. An endpoint with several addresses counts once.
pub(crate) async fn count(
    client: &Client,
    namespace: &str,
    service: &str,
) -> Result<ReplicaCount, Error> {
    Ok(counted(&slices(client, namespace, service).await?))
}

fn counted(slices: &[DynamicObject]) -> ReplicaCount {
    let endpoints = slices.iter().filter_map(|slice| slice.data["endpoints"].as_array());
    let mut are_ready: BTreeMap<&str, bool> = BTreeMap::new();
    // A pod that ends is replaced already. On a node that is gone it ends after days.
    let are_wanted = endpoints.flatten().filter(|it| it["conditions"]["terminating"] != true);
    for endpoint in are_wanted {
        let name = endpoint["targetRef"]["name"].as_str();
        let Some(name) = name.or(endpoint["addresses"][0].as_str()) else { continue };
        *are_ready.entry(name).or_default() |= endpoint["conditions"]["ready"] != false;
    }
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let ready = are_ready.values().filter(|is_ready| **is_ready).count();
    ReplicaCount { ready: number(ready), total: number(are_ready.len()) }
}

/// Returns the addresses of all API servers.
pub(crate) async fn api_servers(client: &Client) -> Result<Vec<SocketAddr>, Error> {
    Ok(addresses(&slices(client, "default", "kubernetes").await?))
}

async fn slices(
    client: &Client,
    namespace: &str,
    service: &str,
) -> Result<Vec<DynamicObject>, Error> {
    let slices = namespaced::<EndpointSlice, DynamicObject>(client, namespace);
    let of_service = ListParams::default().labels(&format!("{}={service}", labels::SERVICE_NAME));
    let list = slices.list(&of_service).await;
    let doing = format!("list the EndpointSlices of the Service {namespace}/{service}");
    Ok(list.map_err(Error::api(doing))?.items)
}

fn addresses(slices: &[DynamicObject]) -> Vec<SocketAddr> {
    let mut all = Vec::new();
    for slice in slices {
        let mut ports = slice.data["ports"].as_array().into_iter().flatten();
        let first = ports.clone().next();
        let port = ports.find(|port| port["name"] == "https").or(first);
        let port = port.and_then(|port| u16::try_from(port["port"].as_u64()?).ok());
        let Some(port) = port else { continue };
        for address in ready(slice) {
            all.extend(address.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, port)));
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}

/// Returns the addresses of endpoints that are ready. An unknown condition counts as ready.
fn ready(slice: &DynamicObject) -> impl Iterator<Item = &str> {
    let endpoints = slice.data["endpoints"].as_array().into_iter().flatten();
    let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] != false);
    ready.flat_map(|it| it["addresses"].as_array().into_iter().flatten().filter_map(Value::as_str))
}

/// Returns true if `name` may be the name of a Service or a namespace.
fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !name.is_empty() && name.len() <= 63 && name.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn slice(ready: Option<bool>, addresses: &[&str]) -> DynamicObject {
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": { "name": "kubernetes" },
            "addressType": "IPv4",
            "endpoints": [{ "addresses": addresses, "conditions": { "ready": ready } }],
            "ports": [{ "name": "metrics", "port": 1 }, { "name": "https", "port": 6443 }],
        });
        serde_json::from_value(slice).unwrap()
    }

    #[test]
    fn api_servers_are_all_ready_addresses() {
        let slices = [
            slice(Some(true), &["10.0.0.2", "10.0.0.1"]),
            slice(None, &["10.0.0.1"]),
            slice(Some(false), &["10.0.0.3"]),
        ];
        let expected: Vec<SocketAddr> =
            ["10.0.0.1:6443", "10.0.0.2:6443"].map(|it| it.parse().unwrap()).into();
        assert_eq!(addresses(&slices), expected);
        let mut bare = slice(Some(true), &["10.0.0.1"]);
        bare.data["ports"] = Value::Null;
        assert!(addresses(&[bare]).is_empty());
    }

    #[test]
    fn endpoint_counts_once() {
        let mut slices = [
            slice(Some(true), &["10.0.0.1"]),
            slice(Some(true), &["fd00::1"]),
            slice(Some(false), &["10.0.0.2"]),
        ];
        for slice in &mut slices[..2] {
            slice.data["endpoints"][0]["targetRef"] = json!({ "kind": "Pod", "name": "a" });
        }
        assert_eq!(counted(&slices), ReplicaCount { ready: 1, total: 2 });
        slices[2].data["endpoints"][0]["conditions"]["terminating"] = true.into();
        assert_eq!(counted(&slices), ReplicaCount { ready: 1, total: 1 });
        assert_eq!(counted(&[]), ReplicaCount::default());
    }

    #[test]
    fn impossible_names_are_no_query() {
        for name in ["", "a,b", "a/b", "../a", "A", "a b", &"a".repeat(64)] {
            assert!(!is_name(name), "{name}");
        }
        assert!(is_name("imageswap-2"));
    }
}
