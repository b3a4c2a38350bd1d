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
    Format, RenderContext, RenderedFile, RenderedParts,
    quote::{MARKER, quoted},
};
use crate::mirror::{Capabilities, Endpoint};
use crate::rule::{RuleKind, RuleSource};

/// The `registries.conf` of CRI-O and podman.
pub const FORMAT: Format = Format {
    name: "registries-conf",
    about: "registries.conf of podman, skopeo and CRI-O",
    words: Capabilities {
        paths: true,
        default: false,
        hosts: true,
        mirror_paths: true,
        never: Ok(()),
    },
    print,
};

fn print(told: &RenderContext<'_>) -> RenderedParts {
    let mut printed = RenderedParts::default();
    let mut text = MARKER.to_owned();
    for (prefix, endpoints) in prefixes(told) {
        let blocked = told.never() && !endpoints.is_empty();
        registry(told, &prefix, blocked, &mut text);
        for endpoint in &endpoints {
            let location = location(endpoint);
            let _ = write!(text, "[[registry.mirror]]\nlocation = {}\n", quoted(&location));
            insecure(told, &endpoint.host, &mut text);
        }
    }
    for host in told.mirrors.targets() {
        if told.mirrors.host(host).is_none() {
            registry(told, host, false, &mut text);
            insecure(told, host, &mut text);
        }
    }
    let mut auths = Map::new();
    let mut secret = false;
    for host in told.mirrors.targets() {
        if let Some(ca) = told.ca(host) {
            let path = format!("certs.d/{host}/ca.crt");
            printed.files.push(RenderedFile { path, text: ca.to_owned(), secret: false });
        }
        if let Some(auth) = told.basic(host) {
            auths.insert(host.to_owned(), json!({ "auth": auth }));
            secret |= told.is_secret(host);
        }
    }
    if !auths.is_empty() {
        let text = json!({ "auths": auths }).to_string() + "\n";
        printed.files.push(RenderedFile { path: "auth.json".to_owned(), text, secret });
    }
    printed.files.push(RenderedFile { path: "registries.conf".to_owned(), text, secret: false });
    printed
}

/// Every prefix rule, its mirrors in order; none: leave alone.
pub(super) fn prefixes(told: &RenderContext<'_>) -> BTreeMap<String, Vec<Endpoint>> {
    let mut prefixes: BTreeMap<String, Vec<Endpoint>> = BTreeMap::new();
    for (id, rule) in told.rules.rules().iter().enumerate() {
        let Some(key) = RuleSource::parse(rule.key()).filter(|_| rule.kind == RuleKind::Prefix)
        else {
            continue;
        };
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

fn registry(told: &RenderContext<'_>, prefix: &str, blocked: bool, text: &mut String) {
    let prefix = quoted(prefix);
    let _ = write!(text, "\n[[registry]]\nprefix = {prefix}\nlocation = {prefix}\n");
    if blocked && told.never() {
        text.push_str("blocked = true\n");
    }
}

/// `insecure` is both: certificates are not verified, and plain HTTP is allowed.
fn insecure(told: &RenderContext<'_>, host: &str, text: &mut String) {
    if told.insecure(host) || told.mirrors.scheme(host) == "http" {
        text.push_str("insecure = true\n");
    }
}

pub(super) fn location(endpoint: &Endpoint) -> String {
    let slash = if endpoint.path.is_empty() { "" } else { "/" };
    [&endpoint.host, slash, &endpoint.path].concat()
}
