//! A patch of Talos's machine configuration, applied live by machined.
//!
//! Source: Talos, `v1alpha1` reference, `RegistriesConfig`.

use std::fmt::Write as _;

use image_swap_text::base64;

use super::{
    Format, RenderContext, RenderedFile, RenderedParts,
    quote::{MARKER, auth, quoted},
};
use crate::mirror::{DOCKER_REGISTRY, Endpoint, HOSTS_TOML};

pub(super) const FORMAT: Format = Format {
    name: "talos",
    about: "a patch of Talos's machine configuration",
    words: HOSTS_TOML,
    print,
};

fn print(told: &RenderContext<'_>) -> RenderedParts {
    let mut text = [MARKER, "machine:\n  registries:\n    mirrors:\n"].concat();
    for (host, endpoints) in told.mirrors.hosts() {
        mirror(told, host, endpoints, &mut text);
    }
    for host in told.mirrors.targets().filter(|host| told.mirrors.host(host).is_none()) {
        mirror(told, host, &[], &mut text);
    }
    if !told.mirrors.elsewhere().is_empty() {
        mirror(told, "*", told.mirrors.elsewhere(), &mut text);
    }
    let mut secret = false;
    let mut configs = String::new();
    for host in told.mirrors.targets() {
        let mut config = String::new();
        if told.insecure(host) {
            config.push_str("        tls:\n          insecureSkipVerify: true\n");
        } else if let Some(ca) = told.ca(host) {
            let _ = write!(config, "        tls:\n          ca: {}\n", base64::encode(ca));
        }
        if let Some(credentials) = told.credentials(host) {
            config += &auth(credentials, "        ");
            secret |= told.is_secret(host);
        }
        if !config.is_empty() {
            let _ = write!(configs, "      {}:\n{config}", quoted(host));
        }
    }
    if !configs.is_empty() {
        let _ = write!(text, "    config:\n{configs}");
    }
    let file = RenderedFile { path: "talos-patch.yaml".to_owned(), text, secret };
    RenderedParts { files: vec![file], notes: Vec::new() }
}

fn mirror(told: &RenderContext<'_>, host: &str, endpoints: &[Endpoint], text: &mut String) {
    let _ = write!(text, "      {}:\n        endpoints:\n", quoted(host));
    if endpoints.is_empty() {
        let registry = if host == "docker.io" { DOCKER_REGISTRY } else { host };
        let url = [told.mirrors.scheme(host), "://", registry].concat();
        let _ = writeln!(text, "          - {}", quoted(&url));
        return;
    }
    for endpoint in endpoints {
        let _ = writeln!(text, "          - {}", quoted(&told.mirrors.api_url(endpoint)));
    }
    text.push_str("        overridePath: true\n");
    if told.never() {
        text.push_str("        skipFallback: true\n");
    }
}
