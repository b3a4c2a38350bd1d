//! A patch of Talos's machine configuration, applied live by machined.
//!
//! Source: Talos, `v1alpha1` reference, `RegistriesConfig`.

use std::fmt::Write as _;

use image_swap_text::base64;

use super::{
    Format, RenderContext, Rendered,
    quote::{MARKER, auth, quoted},
};
use crate::mirror::{Endpoint, HOSTS_TOML};

pub(super) const FORMAT: Format = Format {
    name: "talos",
    about: "a patch of Talos's machine configuration",
    capabilities: HOSTS_TOML,
    print,
};

fn print(context: &RenderContext<'_>, printed: &mut Rendered) {
    let mut text = [MARKER, "machine:\n  registries:\n    mirrors:\n"].concat();
    for (host, endpoints) in context.hosts("*") {
        mirror(context, host, endpoints, &mut text);
    }
    let mut secret = false;
    let mut configs = String::new();
    for host in context.mirrors.targets() {
        let mut config = String::new();
        if context.insecure(host) {
            config.push_str("        tls:\n          insecureSkipVerify: true\n");
        } else if let Some(ca) = context.ca(host) {
            let _ = write!(config, "        tls:\n          ca: {}\n", base64::encode(ca));
        }
        if let Some(credentials) = context.credentials(host) {
            config += &auth(credentials, "        ");
            secret |= context.is_secret(host);
        }
        if !config.is_empty() {
            let _ = write!(configs, "      {}:\n{config}", quoted(host));
        }
    }
    if !configs.is_empty() {
        let _ = write!(text, "    config:\n{configs}");
    }
    printed.add("talos-patch.yaml", text, secret);
}

fn mirror(context: &RenderContext<'_>, host: &str, endpoints: &[Endpoint], text: &mut String) {
    let _ = write!(text, "      {}:\n        endpoints:\n", quoted(host));
    if endpoints.is_empty() {
        let _ = writeln!(text, "          - {}", quoted(&context.mirrors.server(host)));
        return;
    }
    for endpoint in endpoints {
        let _ = writeln!(text, "          - {}", quoted(&context.mirrors.api_url(endpoint)));
    }
    text.push_str("        overridePath: true\n");
    if context.never() {
        text.push_str("        skipFallback: true\n");
    }
}
