//! `registries.conf` of podman, skopeo, buildah and CRI-O.
//!
//! Locations have neither scheme nor `/v2`. The longest prefix wins, on a component boundary,
//! so the format can express rules with a path; it has no default. `blocked` prevents pulls
//! from the registry itself and does not affect its mirrors.
//!
//! Source: containers-registries.conf(5), containers-auth.json(5).

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::{Map, json};

use super::{
    Format, RenderContext, Rendered,
    quote::{MARKER, quoted},
};
use crate::mirror::{Capabilities, Endpoint, HOSTS_TOML};

/// The `registries.conf` of CRI-O and podman.
pub const FORMAT: Format = Format {
    name: "registries-conf",
    about: "registries.conf of podman, skopeo and CRI-O",
    capabilities: Capabilities { paths: true, default: false, ..HOSTS_TOML },
    print,
};

fn print(context: &RenderContext<'_>, printed: &mut Rendered) {
    let mut text = MARKER.to_owned();
    for (prefix, endpoints) in prefixes(context) {
        registry(&prefix, context.never() && !endpoints.is_empty(), &mut text);
        for endpoint in &endpoints {
            let location = quoted(&endpoint.below(""));
            let _ = write!(text, "[[registry.mirror]]\nlocation = {location}\n");
            insecure(context, &endpoint.host, &mut text);
        }
    }
    for host in context.mirrors.targets() {
        if context.mirrors.host(host).is_none() {
            registry(host, false, &mut text);
            insecure(context, host, &mut text);
        }
    }
    let mut auths = Map::new();
    let mut secret = false;
    for host in context.mirrors.targets() {
        if let Some(ca) = context.ca(host) {
            printed.add(format!("certs.d/{host}/ca.crt"), ca, false);
        }
        if let Some(auth) = context.basic(host) {
            auths.insert(host.to_owned(), json!({ "auth": auth }));
            secret |= context.is_secret(host);
        }
    }
    if !auths.is_empty() {
        printed.add("auth.json", json!({ "auths": auths }).to_string() + "\n", secret);
    }
    printed.add("registries.conf", text, false);
}

/// Returns every prefix rule with its mirrors in order; an empty list exempts.
pub(super) fn prefixes(context: &RenderContext<'_>) -> BTreeMap<String, Vec<Endpoint>> {
    let mut prefixes: BTreeMap<String, Vec<Endpoint>> = BTreeMap::new();
    for (id, rule) in context.rules.rules().iter().enumerate() {
        let Some(key) = rule.prefix() else { continue };
        let first = !prefixes.contains_key(key.as_str());
        let target = context.rules.target(id);
        let endpoints = prefixes.entry(key.as_str().to_owned()).or_default();
        // The first rule decides: no mirror is added to an exemption.
        if let Some(target) = target.filter(|_| first || !endpoints.is_empty()) {
            let mut endpoint = Endpoint::of(target, key.host());
            if target.joins_name() && !key.path().is_empty() {
                endpoint.path.push('/');
                endpoint.path.push_str(key.path());
            }
            if !endpoints.contains(&endpoint) {
                endpoints.push(endpoint);
            }
        }
    }
    prefixes
}

fn registry(prefix: &str, blocked: bool, text: &mut String) {
    let prefix = quoted(prefix);
    let _ = write!(text, "\n[[registry]]\nprefix = {prefix}\nlocation = {prefix}\n");
    if blocked {
        text.push_str("blocked = true\n");
    }
}

/// Prints `insecure`, which disables the verification of certificates and allows plain HTTP.
fn insecure(context: &RenderContext<'_>, host: &str, text: &mut String) {
    if context.insecure(host) || context.mirrors.scheme(host) == "http" {
        text.push_str("insecure = true\n");
    }
}
