//! The registry tables of containerd's `config.toml`, the predecessor of `hosts.toml`, also in
//! the form of Spectro Cloud Palette's documentation, "Override Registry Configuration".
//!
//! containerd always tries the registry itself last. Source: containerd 1.6 and 1.7,
//! `pkg/cri/server/image_pull.go`, `registryEndpoints` and `addDefaultScheme`.

use std::{collections::HashMap, fmt::Write as _};

use super::{
    ConfigVersion, EndpointForm, Format, RenderContext, Rendered,
    quote::{list, quoted},
};
use crate::{
    mirror::{Capabilities, Endpoint, HOSTS_TOML},
    rule::Rule,
};

/// The mirrors table in containerd's configuration.
pub const FORMAT: Format = Format {
    name: "containerd-mirrors",
    about: "the mirrors table of containerd's config.toml",
    capabilities: Capabilities {
        never: Err(
            "containerd adds the registry itself to the mirrors of this table; use the format containerd",
        ),
        ..HOSTS_TOML
    },
    print,
};

fn print(context: &RenderContext<'_>, printed: &mut Rendered) {
    let is_palette = context.options.endpoint == EndpointForm::Palette;
    let plugin = match context.options.config_version {
        ConfigVersion::Two => "io.containerd.grpc.v1.cri",
        ConfigVersion::Three => "io.containerd.cri.v1.images",
    };
    let registry = format!("[plugins.\"{plugin}\".registry");
    let mut text = String::new();
    if is_palette {
        let _ = write!(
            text,
            "    # contains spectro changes\n    {registry}]\n      {registry}.mirrors]\n"
        );
    }
    // Palette's documentation prints the rules in the order of their declaration.
    let all = context.hosts("*").filter(|(_, endpoints)| !endpoints.is_empty());
    let mut all: Vec<(&str, &[Endpoint])> = all.collect();
    let rules = context.rules.rules().iter().map(Rule::key).enumerate();
    let order: HashMap<&str, usize> = rules.rev().map(|(at, key)| (key, at)).collect();
    all.sort_by_key(|(host, _)| order.get(host));
    for (host, endpoints) in all {
        let url =
            |it: &Endpoint| if is_palette { it.below("") } else { context.mirrors.api_url(it) };
        let urls = list(endpoints.iter().map(url));
        let indent = if is_palette { "        " } else { "" };
        let host = quoted(host);
        let _ = write!(text, "{indent}{registry}.mirrors.{host}]\n{indent}  endpoint = {urls}\n");
    }
    let mut secret = false;
    if !is_palette {
        for host in context.mirrors.targets() {
            secret |= context.is_secret(host);
            configuration(context, &registry, host, &mut text);
        }
    }
    printed.notes.push(if is_palette {
        "standard registries do not answer these endpoints, which lack /v2/; use --endpoint url"
    } else {
        "containerd tries the registry itself after its mirrors; restart containerd to apply the file"
    });
    if context.registry.is_some_and(|registry| !registry.ca.is_empty() || registry.insecure) {
        printed.notes.push(
            "the table has no CA, and containerd 2 ignores INSECURE in it; use the format \
             containerd, or add the CA to the host's trust store",
        );
    }
    printed.add("config.toml", text, secret);
}

/// Prints trust and credentials of `host` in the form of containerd 1.x.
fn configuration(context: &RenderContext<'_>, registry: &str, host: &str, text: &mut String) {
    let table = format!("{registry}.configs.{}", quoted(host));
    if context.insecure(host) && context.options.config_version == ConfigVersion::Two {
        let _ = write!(text, "{table}.tls]\n  insecure_skip_verify = true\n");
    }
    if let Some((username, password)) = context.credentials(host) {
        let (username, password) = (quoted(username), quoted(password));
        let _ = write!(text, "{table}.auth]\n  username = {username}\n  password = {password}\n");
    }
}
