//! `registries.yaml` of k3s and RKE2, read when the agent starts.
//!
//! An endpoint with a path other than `/v2` gets `override_path` from k3s. The
//! registry itself is asked last unless every server and agent runs with
//! `--disable-default-registry-endpoint`. Source: k3s, `pkg/agent/containerd`.

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

/// Where the CA lies; RKE2 reads the same path if it is put there.
const CA: &str = "/etc/rancher/k3s/image-swap-ca.crt";

fn print(told: &RenderContext<'_>, printed: &mut Rendered) {
    let mut text = [MARKER, "mirrors:\n"].concat();
    for (host, endpoints) in told.hosts("*") {
        let _ = write!(text, "  {}:\n    endpoint:\n", quoted(host));
        let mut urls: Vec<String> =
            endpoints.iter().map(|endpoint| told.mirrors.api_url(endpoint)).collect();
        if endpoints.is_empty() {
            let has_rule = told.mirrors.host(host).is_some();
            let of_target = || [told.mirrors.scheme(host), "://", host].concat();
            urls.push(if has_rule { told.mirrors.server(host) } else { of_target() });
        }
        for url in urls {
            let _ = writeln!(text, "      - {}", quoted(&url));
        }
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
