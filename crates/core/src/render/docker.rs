//! `daemon.json` of dockerd: mirrors for Docker Hub alone, and only at the root
//! of their registry (dockerd 20 refuses to start with a path, later ones ask
//! `/path/v2/…`).

use serde_json::{Map, Value, json};

use super::{Format, RenderContext, RenderedFile, RenderedParts};
use crate::mirror::Capabilities;

/// The lists of mirrors in Docker's `daemon.json`.
pub const FORMAT: Format = Format {
    name: "docker",
    about: "daemon.json of dockerd",
    words: Capabilities {
        paths: false,
        default: false,
        hosts: false,
        mirror_paths: false,
        never: Err("dockerd asks Docker Hub after its mirrors"),
    },
    print,
};

fn print(told: &RenderContext<'_>) -> RenderedParts {
    let mut printed = RenderedParts::default();
    let roots = told.mirrors.host("docker.io").unwrap_or_default();
    let roots = roots.iter().filter(|endpoint| endpoint.path.is_empty());
    let mirrors: Vec<String> = roots
        .map(|endpoint| [told.mirrors.scheme(&endpoint.host), "://", &endpoint.host].concat())
        .collect();
    let is_insecure = |host: &&str| told.insecure(host) || told.mirrors.scheme(host) == "http";
    let insecure: Vec<&str> = told.mirrors.targets().filter(is_insecure).collect();
    let mut daemon = Map::new();
    for (key, values) in
        [("registry-mirrors", json!(mirrors)), ("insecure-registries", json!(insecure))]
    {
        if values.as_array().is_some_and(|values| !values.is_empty()) {
            daemon.insert(key.to_owned(), values);
        }
    }
    for host in told.mirrors.targets() {
        if let Some(ca) = told.ca(host) {
            let path = format!("certs.d/{host}/ca.crt");
            printed.files.push(RenderedFile { path, text: ca.to_owned(), secret: false });
        }
    }
    let text = format!("{:#}\n", Value::Object(daemon));
    printed.files.push(RenderedFile { path: "daemon.json".to_owned(), text, secret: false });
    printed.notes.push("dockerd has no credentials of its own: log in with docker login");
    printed
}
