//! `registries.yaml` of k3s and RKE2, read when the agent starts.
//!
//! An endpoint with a path other than `/v2` gets `override_path` from k3s. The
//! registry itself is asked last unless every server and agent runs with
//! `--disable-default-registry-endpoint`. Source: k3s, `pkg/agent/containerd`.

use std::fmt::Write as _;

use super::{
    Format, RenderContext, RenderedFile, RenderedParts,
    quote::{MARKER, auth, quoted},
};
use crate::mirror::{Capabilities, DOCKER_REGISTRY, Endpoint, HOSTS_TOML};

/// The `registries.yaml` of k3s and RKE2.
pub const FORMAT: Format = Format {
    name: "k3s",
    about: "registries.yaml of k3s and RKE2",
    words: Capabilities {
        never: Err("registries.yaml cannot say it; run every server and agent with \
                    --disable-default-registry-endpoint and render with --fallback upstream"),
        ..HOSTS_TOML
    },
    print,
};

/// Where the CA lies; RKE2 reads the same path if it is put there.
const CA: &str = "/etc/rancher/k3s/image-swap-ca.crt";

fn print(told: &RenderContext<'_>) -> RenderedParts {
    let mut printed = RenderedParts::default();
    let mut text = [MARKER, "mirrors:\n"].concat();
    for (host, endpoints) in told.mirrors.hosts() {
        if endpoints.is_empty() {
            let registry = if host == "docker.io" { DOCKER_REGISTRY } else { host };
            mirror(host, &[[told.mirrors.scheme(host), "://", registry].concat()], &mut text);
        } else {
            mirror(host, &urls(told, endpoints), &mut text);
        }
    }
    for host in told.mirrors.targets() {
        if told.mirrors.host(host).is_none() {
            mirror(host, &[[told.mirrors.scheme(host), "://", host].concat()], &mut text);
        }
    }
    if !told.mirrors.elsewhere().is_empty() {
        mirror("*", &urls(told, told.mirrors.elsewhere()), &mut text);
    }
    let mut secret = false;
    let mut configs = String::new();
    for host in told.mirrors.targets() {
        let mut config = String::new();
        if let Some(credentials) = told.credentials(host) {
            config += &auth(credentials, "    ");
            secret |= told.is_secret(host);
        }
        if told.insecure(host) {
            config.push_str("    tls:\n      insecure_skip_verify: true\n");
        } else if let Some(ca) = told.ca(host) {
            let _ = write!(config, "    tls:\n      ca_file: {}\n", quoted(CA));
            // The hosts of a registry share one authority.
            let path = "image-swap-ca.crt".to_owned();
            let file = RenderedFile { path, text: ca.to_owned(), secret: false };
            if !printed.files.contains(&file) {
                printed.files.push(file);
            }
        }
        if !config.is_empty() {
            let _ = write!(configs, "  {}:\n{config}", quoted(host));
        }
    }
    if !configs.is_empty() {
        let _ = write!(text, "configs:\n{configs}");
    }
    printed.files.push(RenderedFile { path: "registries.yaml".to_owned(), text, secret });
    printed
}

fn urls(told: &RenderContext<'_>, endpoints: &[Endpoint]) -> Vec<String> {
    endpoints.iter().map(|endpoint| told.mirrors.api_url(endpoint)).collect()
}

fn mirror(host: &str, endpoints: &[String], text: &mut String) {
    let _ = write!(text, "  {}:\n    endpoint:\n", quoted(host));
    for endpoint in endpoints {
        let _ = writeln!(text, "      - {}", quoted(endpoint));
    }
}
