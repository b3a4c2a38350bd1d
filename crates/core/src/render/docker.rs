//! Docker's `daemon.json`: mirrors for Docker Hub only, at the root of their registry.
//!
//! dockerd 20 refuses to start with a path in a mirror; later versions request `/path/v2/…`.

use serde_json::{Map, Value, json};

use super::{Format, RenderContext, Rendered};
use crate::mirror::{Capabilities, HOSTS_TOML};

/// The lists of mirrors in Docker's `daemon.json`.
pub const FORMAT: Format = Format {
    name: "docker",
    about: "daemon.json of dockerd",
    capabilities: Capabilities {
        default: false,
        hosts: false,
        mirror_paths: false,
        never: Err("dockerd tries Docker Hub after its mirrors"),
        ..HOSTS_TOML
    },
    print,
};

fn print(context: &RenderContext<'_>, printed: &mut Rendered) {
    let roots = context.mirrors.host("docker.io").unwrap_or_default();
    let roots = roots.iter().filter(|endpoint| endpoint.path.is_empty());
    let mirrors: Vec<String> = roots
        .map(|endpoint| [context.mirrors.scheme(&endpoint.host), "://", &endpoint.host].concat())
        .collect();
    let is_insecure =
        |host: &&str| context.insecure(host) || context.mirrors.scheme(host) == "http";
    let insecure: Vec<&str> = context.mirrors.targets().filter(is_insecure).collect();
    let mut daemon = Map::new();
    for (key, values) in
        [("registry-mirrors", json!(mirrors)), ("insecure-registries", json!(insecure))]
    {
        if values.as_array().is_some_and(|values| !values.is_empty()) {
            daemon.insert(key.to_owned(), values);
        }
    }
    for host in context.mirrors.targets() {
        if let Some(ca) = context.ca(host) {
            printed.add(format!("certs.d/{host}/ca.crt"), ca, false);
        }
    }
    printed.add("daemon.json", format!("{:#}\n", Value::Object(daemon)), false);
    printed.notes.push("dockerd has no credentials of its own: log in with docker login");
}
