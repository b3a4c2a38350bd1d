//! `registries.yaml` of k3s and RKE2, which they read at the start of the agent.
//!
//! k3s sets `override_path` for an endpoint with a path other than `/v2`. It tries the registry
//! itself last, unless every server and agent runs with `--disable-default-registry-endpoint`.
//! Source: k3s, `pkg/agent/containerd`.

use std::fmt::Write as _;

use super::{
    Format, RenderContext, Rendered,
    quote::{MARKER, auth, quoted},
};
use crate::mirror::{Capabilities, HOSTS_TOML};

/// The `registries.yaml` of k3s and RKE2.
pub const FORMAT: Format = Format {
    name: "k3s",
    about: "registries.yaml of k3s and RKE2",
    capabilities: Capabilities {
        never: Err("registries.yaml has no such setting; run every server and agent with \
                    --disable-default-registry-endpoint and render with --fallback upstream"),
        ..HOSTS_TOML
    },
    print,
};

/// Path of the CA file, also on hosts with RKE2.
const CA: &str = "/etc/rancher/k3s/image-swap-ca.crt";

fn print(context: &RenderContext<'_>, printed: &mut Rendered) {
    let mut text = [MARKER, "mirrors:\n"].concat();
    for (host, endpoints) in context.hosts("*") {
        let _ = write!(text, "  {}:\n    endpoint:\n", quoted(host));
        let mut urls: Vec<String> =
            endpoints.iter().map(|endpoint| context.mirrors.api_url(endpoint)).collect();
        if endpoints.is_empty() {
            let has_rule = context.mirrors.host(host).is_some();
            let of_target = || [context.mirrors.scheme(host), "://", host].concat();
            urls.push(if has_rule { context.mirrors.server(host) } else { of_target() });
        }
        for url in urls {
            let _ = writeln!(text, "      - {}", quoted(&url));
        }
    }
    let mut secret = false;
    let mut configs = String::new();
    for host in context.mirrors.targets() {
        let mut config = String::new();
        if let Some(credentials) = context.credentials(host) {
            config += &auth(credentials, "    ");
            secret |= context.is_secret(host);
        }
        if context.insecure(host) {
            config.push_str("    tls:\n      insecure_skip_verify: true\n");
        } else if let Some(ca) = context.ca(host) {
            let _ = write!(config, "    tls:\n      ca_file: {}\n", quoted(CA));
            // All hosts of a registry share the same certificate authorities.
            if printed.files.is_empty() {
                printed.add("image-swap-ca.crt", ca, false);
            }
        }
        if !config.is_empty() {
            let _ = write!(configs, "  {}:\n{config}", quoted(host));
        }
    }
    if !configs.is_empty() {
        let _ = write!(text, "configs:\n{configs}");
    }
    printed.add("registries.yaml", text, secret);
}
