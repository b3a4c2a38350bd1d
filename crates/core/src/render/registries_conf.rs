//! `registries.conf` of podman, skopeo, buildah and CRI-O.
//!
//! Locations have neither scheme nor `/v2`. The longest prefix wins, on a
//! component boundary, so that rules with a path are held; there is no default.
//! `blocked` refuses the registry itself and leaves its mirrors in use.
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

fn print(told: &RenderContext<'_>, printed: &mut Rendered) {
    let mut text = MARKER.to_owned();
    for (prefix, endpoints) in prefixes(told) {
        registry(&prefix, told.never() && !endpoints.is_empty(), &mut text);
        for endpoint in &endpoints {
            let location = quoted(&endpoint.below(""));
            let _ = write!(text, "[[registry.mirror]]\nlocation = {location}\n");
            insecure(told, &endpoint.host, &mut text);
        }
    }
    for host in told.mirrors.targets() {
        if told.mirrors.host(host).is_none() {
            registry(host, false, &mut text);
            insecure(told, host, &mut text);
        }
    }
    let mut auths = Map::new();
    let mut secret = false;
    for host in told.mirrors.targets() {
        if let Some(ca) = told.ca(host) {
            printed.add(format!("certs.d/{host}/ca.crt"), ca, false);
        }
        if let Some(auth) = told.basic(host) {
            auths.insert(host.to_owned(), json!({ "auth": auth }));
            secret |= told.is_secret(host);
        }
    }
    if !auths.is_empty() {
        printed.add("auth.json", json!({ "auths": auths }).to_string() + "\n", secret);
    }
    printed.add("registries.conf", text, false);
}

/// Every prefix rule, its mirrors in order; none: leave alone.
pub(super) fn prefixes(told: &RenderContext<'_>) -> BTreeMap<String, Vec<Endpoint>> {
    let mut prefixes: BTreeMap<String, Vec<Endpoint>> = BTreeMap::new();
    for (id, rule) in told.rules.rules().iter().enumerate() {
        let Some(key) = rule.prefix() else { continue };
        let first = !prefixes.contains_key(key.as_str());
        let target = told.rules.target(id);
        let endpoints = prefixes.entry(key.as_str().to_owned()).or_default();
        // What comes first decides: nothing is added to "leave alone".
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

/// `insecure` is both: certificates are not verified, and plain HTTP is allowed.
fn insecure(told: &RenderContext<'_>, host: &str, text: &mut String) {
    if told.insecure(host) || told.mirrors.scheme(host) == "http" {
        text.push_str("insecure = true\n");
    }
}
