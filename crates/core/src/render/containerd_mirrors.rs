//! The registry tables of containerd's `config.toml`: how it was done before
//! `hosts.toml`, and what the page prints.
//!
//! The registry itself is always asked last. Source: containerd 1.6 and 1.7,
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
            "containerd appends the registry to the mirrors of this table; use the format containerd",
        ),
        ..HOSTS_TOML
    },
    print,
};

fn print(told: &RenderContext<'_>, printed: &mut Rendered) {
    let page = told.options.endpoint == EndpointForm::Page;
    let plugin = match told.options.config_version {
        ConfigVersion::Two => "io.containerd.grpc.v1.cri",
        ConfigVersion::Three => "io.containerd.cri.v1.images",
    };
    let registry = format!("[plugins.\"{plugin}\".registry");
    let mut text = String::new();
    if page {
        let _ = write!(
            text,
            "    # contains spectro changes\n    {registry}]\n      {registry}.mirrors]\n"
        );
    }
    // The page prints its rules in the order in which they were declared.
    let all = told.hosts("*").filter(|(_, endpoints)| !endpoints.is_empty());
    let mut all: Vec<(&str, &[Endpoint])> = all.collect();
    let rules = told.rules.rules().iter().map(Rule::key).enumerate();
    let order: HashMap<&str, usize> = rules.rev().map(|(at, key)| (key, at)).collect();
    all.sort_by_key(|(host, _)| order.get(host));
    for (host, endpoints) in all {
        let url = |it: &Endpoint| if page { it.below("") } else { told.mirrors.api_url(it) };
        let urls = list(endpoints.iter().map(url));
        let indent = if page { "        " } else { "" };
        let host = quoted(host);
        let _ = write!(text, "{indent}{registry}.mirrors.{host}]\n{indent}  endpoint = {urls}\n");
    }
    let mut secret = false;
    if !page {
        for host in told.mirrors.targets() {
            secret |= told.is_secret(host);
            configuration(told, &registry, host, &mut text);
        }
    }
    printed.notes.push(if page {
        "a standard registry will not answer these endpoints: they lack /v2/; use --endpoint url"
    } else {
        "the registry itself is asked after its mirrors, and containerd has to be restarted"
    });
    if told.registry.is_some_and(|registry| !registry.ca.is_empty() || registry.insecure) {
        printed.notes.push(
            "the table says no CA, and containerd 2 passes over INSECURE in it; use the format \
             containerd, or have the host trust the CA",
        );
    }
    printed.add("config.toml", text, secret);
}

/// Trust and credentials of `host`, as containerd 1.x reads them.
fn configuration(told: &RenderContext<'_>, registry: &str, host: &str, text: &mut String) {
    let table = format!("{registry}.configs.{}", quoted(host));
    if told.insecure(host) && told.options.config_version == ConfigVersion::Two {
        let _ = write!(text, "{table}.tls]\n  insecure_skip_verify = true\n");
    }
    if let Some((username, password)) = told.credentials(host) {
        let (username, password) = (quoted(username), quoted(password));
        let _ = write!(text, "{table}.auth]\n  username = {username}\n  password = {password}\n");
    }
}
