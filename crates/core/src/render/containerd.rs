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
    Format, RenderContext, Rendered,
    quote::{MARKER, quoted},
};
use crate::mirror::{Endpoint, HOSTS_TOML};

/// The directory of `hosts.toml` files that containerd reads.
pub const FORMAT: Format = Format {
    name: "containerd",
    about: "certs.d/HOST/hosts.toml of containerd 1.6 and later",
    capabilities: HOSTS_TOML,
    print,
};

/// The directory that serves every host without one of its own.
const DEFAULT: &str = "_default";

fn print(told: &RenderContext<'_>, printed: &mut Rendered) {
    // Images that pods name are pulled from the target itself: its trust, no mirror.
    for (host, endpoints) in told.hosts(DEFAULT) {
        directory(told, host, endpoints, printed);
    }
}

/// Prints the directory of one host.
fn directory(told: &RenderContext<'_>, host: &str, endpoints: &[Endpoint], printed: &mut Rendered) {
    let mut text = MARKER.to_owned();
    let mut hosts = endpoints;
    // Trust for the host that is asked last is at the top of the file.
    if endpoints.is_empty() {
        let _ = writeln!(text, "server = {}", quoted(&told.mirrors.server(host)));
        trust(told, host, "", &mut text);
    } else if let (true, Some((last, before))) = (told.never(), endpoints.split_last()) {
        hosts = before;
        let _ = writeln!(text, "server = {}", quoted(&told.mirrors.api_url(last)));
        text.push_str("capabilities = [\"pull\", \"resolve\"]\noverride_path = true\n");
        trust(told, &last.host, "", &mut text);
        if let Some(authorization) = told.authorization(&last.host) {
            let _ = write!(text, "\n[header]\n  Authorization = {}\n", quoted(&authorization));
        }
    }
    for endpoint in hosts {
        let url = quoted(&told.mirrors.api_url(endpoint));
        let _ = write!(text, "\n[host.{url}]\n");
        text.push_str("  capabilities = [\"pull\", \"resolve\"]\n  override_path = true\n");
        trust(told, &endpoint.host, "  ", &mut text);
        if let Some(authorization) = told.authorization(&endpoint.host) {
            let value = quoted(&authorization);
            let _ = write!(text, "  [host.{url}.header]\n    Authorization = {value}\n");
        }
    }
    if hosts.is_empty() {
        text.push_str("\n[host]\n");
    }
    // One directory has one CA file, of the one host that has a CA at all.
    // A host without a mirror is asked itself.
    let own = endpoints.is_empty().then_some(host);
    let mut asked = endpoints.iter().map(|endpoint| endpoint.host.as_str()).chain(own);
    if let Some(ca) = asked.find_map(|host| told.ca(host)) {
        printed.add(format!("{host}/ca.crt"), ca, false);
    }
    let secret = endpoints.iter().any(|endpoint| told.is_secret(&endpoint.host));
    printed.add(format!("{host}/hosts.toml"), text, secret);
}

fn trust(told: &RenderContext<'_>, host: &str, indent: &str, text: &mut String) {
    if told.insecure(host) {
        let _ = writeln!(text, "{indent}skip_verify = true");
    } else if told.ca(host).is_some() {
        let _ = writeln!(text, "{indent}ca = \"ca.crt\"");
    }
}
