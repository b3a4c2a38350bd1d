//! `certs.d/HOST/hosts.toml`, right for containerd 1.6.0 to 2.4 as it stands.
//!
//! - A path needs `/v2` in front and `override_path`, or `/v2` is put behind it.
//! - What is asked last is `server`; left out it is the registry itself. With
//!   fallback `never` it is the last mirror.
//! - Before 1.7.32 a file without any `[host]` table is rejected and the public
//!   registry asked, so there always is one, empty if need be.
//! - containerd 2 sees only explicit `[host."…"]` headers, no inline tables.
//!
//! Source: containerd, `core/remotes/docker/config/hosts.go`, `docs/hosts.md`.

use std::fmt::Write as _;

use super::{
    Format, RenderContext, RenderedFile, RenderedParts,
    quote::{MARKER, quoted},
};
use crate::mirror::{DOCKER_REGISTRY, Endpoint, HOSTS_TOML};

/// The directory of `hosts.toml` files that containerd reads.
pub const FORMAT: Format = Format {
    name: "containerd",
    about: "certs.d/HOST/hosts.toml of containerd 1.6 and later",
    words: HOSTS_TOML,
    print,
};

/// The directory that serves every host without one of its own.
const DEFAULT: &str = "_default";

fn print(told: &RenderContext<'_>) -> RenderedParts {
    let mut printed = RenderedParts::default();
    for (host, endpoints) in told.mirrors.hosts() {
        directory(told, host, endpoints, &mut printed.files);
    }
    for host in told.mirrors.targets() {
        // What pods name is asked of the target itself: its trust, no mirror.
        if told.mirrors.host(host).is_none() {
            directory(told, host, &[], &mut printed.files);
        }
    }
    if !told.mirrors.elsewhere().is_empty() {
        directory(told, DEFAULT, told.mirrors.elsewhere(), &mut printed.files);
    }
    printed
}

/// The directory of one host.
fn directory(
    told: &RenderContext<'_>,
    host: &str,
    endpoints: &[Endpoint],
    files: &mut Vec<RenderedFile>,
) {
    let mut text = MARKER.to_owned();
    let mut hosts = endpoints;
    // Trust for the host that is asked last stands at the top of the file.
    let mut last_header = None;
    if endpoints.is_empty() {
        let registry = if host == "docker.io" { DOCKER_REGISTRY } else { host };
        let server = [told.mirrors.scheme(host), "://", registry].concat();
        let _ = writeln!(text, "server = {}", quoted(&server));
        trust(told, host, "", &mut text);
    } else if let (true, Some((last, before))) = (told.never(), endpoints.split_last()) {
        hosts = before;
        let _ = writeln!(text, "server = {}", quoted(&told.mirrors.api_url(last)));
        text.push_str("capabilities = [\"pull\", \"resolve\"]\noverride_path = true\n");
        trust(told, &last.host, "", &mut text);
        last_header = told.authorization(&last.host);
    }
    if let Some(authorization) = last_header {
        let _ = write!(text, "\n[header]\n  Authorization = {}\n", quoted(&authorization));
    }
    for endpoint in hosts {
        let url = quoted(&told.mirrors.api_url(endpoint));
        let _ = write!(text, "\n[host.{url}]\n");
        text.push_str("  capabilities = [\"pull\", \"resolve\"]\n  override_path = true\n");
        trust(told, &endpoint.host, "  ", &mut text);
        if let Some(authorization) = told.authorization(&endpoint.host) {
            let _ = write!(
                text,
                "  [host.{url}.header]\n    Authorization = {}\n",
                quoted(&authorization)
            );
        }
    }
    if hosts.is_empty() {
        text.push_str("\n[host]\n");
    }
    // One directory has one CA file, of the one host that has a CA at all.
    let asked = endpoints.iter().map(|endpoint| endpoint.host.as_str()).chain(
        // A host of its own is asked too where it has no mirror.
        endpoints.is_empty().then_some(host),
    );
    let asked: Vec<&str> = asked.collect();
    if let Some(ca) = asked.iter().find_map(|host| told.ca(host)) {
        files.push(RenderedFile {
            path: format!("{host}/ca.crt"),
            text: ca.to_owned(),
            secret: false,
        });
    }
    let secret = !endpoints.is_empty() && asked.iter().any(|host| told.is_secret(host));
    files.push(RenderedFile { path: format!("{host}/hosts.toml"), text, secret });
}

fn trust(told: &RenderContext<'_>, host: &str, indent: &str, text: &mut String) {
    if told.insecure(host) {
        let _ = writeln!(text, "{indent}skip_verify = true");
    } else if told.ca(host).is_some() {
        let _ = writeln!(text, "{indent}ca = \"ca.crt\"");
    }
}
