//! Guarantee 1a on rendered files: parsed like the runtimes do, they result in the URLs of
//! the swapped references.

use image_swap_testkit::{lists, sources};
use proptest::prelude::*;
use toml_edit::{DocumentMut, Item, Table};

use super::{declared, file, render};
use crate::{
    mirror::{Fallback, MirrorTable},
    reference::Reference,
    render::{Options, Rendered},
    rule::{Reason, RuleKind},
};

/// Returns the URLs of containerd: of the directory of `host`, or `_default`, the hosts in its
/// `hosts.toml` in order, the server last (`hosts.go`, `parseHostsFile`).
fn containerd(rendered: &Rendered, reference: &Reference<'_>) -> Vec<String> {
    let host = reference.domain();
    let registry = if host == "docker.io" { "registry-1.docker.io" } else { host };
    let text = |directory: &str| {
        let path = [directory, "/hosts.toml"].concat();
        rendered.files.iter().find(|file| file.path == path).map(|file| file.text.clone())
    };
    let own = ["https://", registry, "/v2"].concat();
    let mut bases = Vec::new();
    match text(host).or_else(|| text("_default")) {
        None => bases.push(own),
        Some(text) => {
            let document: DocumentMut = text.parse().unwrap();
            let hosts = document["host"].as_table().expect("containerd 1.6 wants a host table");
            bases.extend(hosts.iter().map(|(url, item)| base(url, item.as_table().unwrap())));
            bases.push(match document.get("server").and_then(Item::as_str) {
                Some(server) => base(server, &document),
                None => own,
            });
        }
    }
    let path = reference.path();
    bases
        .iter()
        .map(|base| [base, "/", &path, "/manifests/", reference.identifier()].concat())
        .collect()
}

/// Returns the base URL like `parseHostConfig`, which appends `/v2` to a path unless it is
/// overridden.
fn base(url: &str, table: &Table) -> String {
    let overridden = table.get("override_path").and_then(Item::as_bool) == Some(true);
    let capabilities = table.get("capabilities").and_then(Item::as_array);
    if let Some(capabilities) = capabilities {
        let all: Vec<&str> = capabilities.iter().filter_map(toml_edit::Value::as_str).collect();
        assert_eq!(all, ["pull", "resolve"]);
    }
    if overridden { url.to_owned() } else { [url, "/v2"].concat() }
}

/// Returns the URLs of podman: of the longest prefix its mirrors in order, then its location
/// unless it is blocked (containers-registries.conf(5)).
fn podman(rendered: &Rendered, reference: &Reference<'_>) -> Vec<String> {
    let document: DocumentMut = file(rendered, "registries.conf").text.parse().unwrap();
    let name = reference.name();
    let matches = |prefix: &str| {
        name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/') || rest.is_empty())
    };
    let registries = document.get("registry").and_then(Item::as_array_of_tables);
    let registry = registries
        .into_iter()
        .flatten()
        .filter(|registry| matches(registry["prefix"].as_str().unwrap()))
        .max_by_key(|registry| registry["prefix"].as_str().unwrap().len());
    let url = |name: &str, insecure: bool| {
        // A single repository with the root of a host as its target results in an invalid
        // reference.
        let (host, path) = name.split_once('/').unwrap_or((name, ""));
        let host = if host == "docker.io" { "registry-1.docker.io" } else { host };
        // `insecure` allows plain HTTP in addition to HTTPS: the declared scheme is expected.
        let scheme = if insecure && host == "k.io:5000" { "http" } else { "https" };
        [scheme, "://", host, "/v2/", path, "/manifests/", reference.identifier()].concat()
    };
    let Some(registry) = registry else { return vec![url(&name, false)] };
    let rest = &name[registry["prefix"].as_str().unwrap().len()..];
    let insecure = |table: &Table| table.get("insecure").and_then(Item::as_bool).unwrap_or(false);
    let mut urls = Vec::new();
    if let Some(mirrors) = registry.get("mirror").and_then(Item::as_array_of_tables) {
        for mirror in mirrors {
            urls.push(url(
                &[mirror["location"].as_str().unwrap(), rest].concat(),
                insecure(mirror),
            ));
        }
    }
    if registry.get("blocked").and_then(Item::as_bool) != Some(true) {
        urls.push(url(
            &[registry["location"].as_str().unwrap(), rest].concat(),
            insecure(registry),
        ));
    }
    urls
}

fn rules() -> impl Strategy<Value = String> {
    let source = sources(&["quay.io/a", "[EXACT]gcr.io/a", "[REPLACE]*b*"]);
    let targets = &["h.io/d", "h.io", "http://k.io:5000/v2/x", "h.io/x-", "", "h.io/d/a", "m.io/z"];
    lists(source, targets, "\n")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    // guarantee: 1a, 7
    #[test]
    fn runtimes_request_the_swapped_url_first(
        list in rules(),
        host in prop::sample::select(vec!["", "gcr.io/", "quay.io/", "quay.io:443/", "mcr.com/", "h.io/", "k.io:5000/"]),
        path in "[ab](/[ab]){0,2}(:1)?",
    ) {
        let declaration = declared(&list);
        let mirrors = MirrorTable::new(declaration.rules());
        let image = [host, &path].concat();
        let reference = Reference::parse(&image).unwrap();
        let decision = declaration.rules().swap(&image).unwrap();
        // Declarations with chains are rejected, and would violate the guarantee.
        prop_assume!(declaration.clone().serving().is_ok());
        for fallback in [Fallback::Upstream, Fallback::Never] {
            let options = Options { fallback, ..Options::default() };
            let rendered = render("containerd", &list, options);
            let urls = containerd(&rendered, &reference);
            prop_assert_eq!(&urls, &mirrors.pulls(&reference, fallback), "URLs of explain and of the files");
            let swapped = Reference::parse(&decision.image).unwrap();
            if decision.reason == Reason::AlreadyMirrored {
                continue;
            }
            let rule = decision.rule.map(|id| &declaration.rules().rules()[id]);
            let portless = reference.domain().contains(':') && rule.is_some_and(|rule| !rule.key().contains(':'));
            // Images below a target are pulled from the target itself: the default must not
            // match them.
            let target = rule.is_some_and(|rule| rule.kind == RuleKind::Default)
                && mirrors.targets().any(|host| host == reference.domain());
            let bound = |rendered: &Rendered| {
                decision.rule.is_some_and(|id| rendered.inexpressible.iter().all(|row| row.rule != id))
                    && rule.is_some_and(|rule| matches!(rule.kind, RuleKind::Prefix | RuleKind::Default))
                    && decision.reason != Reason::InvalidResult
                    && !portless
                    && !target
            };
            if bound(&rendered) {
                prop_assert_eq!(&urls[0], &mirrors.own_url(&swapped));
            }
            let rendered = render("registries-conf", &list, options);
            let urls = podman(&rendered, &reference);
            if bound(&rendered) {
                prop_assert_eq!(&urls[0], &mirrors.own_url(&swapped), "podman");
                if fallback == Fallback::Never && decision.changed() {
                    prop_assert!(!urls.contains(&mirrors.own_url(&reference)));
                }
            }
        }
    }
}
