//! containerd's `certs.d/HOST/hosts.toml`, for containerd 1.6.0 to 2.4.
//!
//! - A path needs the prefix `/v2` and `override_path`; otherwise containerd appends `/v2`.
//! - The last server to try is `server`, by default the registry itself. With fallback
//!   `never` it is the last mirror.
//! - Before 1.7.32 containerd rejects a file without any `[host]` table and pulls from the
//!   public registry. So there is always such a table, if need be an empty one.
//! - containerd 2 reads only explicit `[host."…"]` headers, and no inline tables.
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

/// Directory for all hosts without a directory of their own.
const DEFAULT: &str = "_default";

fn print(context: &RenderContext<'_>, printed: &mut Rendered) {
    // Images named by pods are pulled from the target itself, with its trust and without
    // mirrors.
    for (host, endpoints) in context.hosts(DEFAULT) {
        directory(context, host, endpoints, printed);
    }
}

/// Prints the directory of one host.
fn directory(
    context: &RenderContext<'_>,
    host: &str,
    endpoints: &[Endpoint],
    printed: &mut Rendered,
) {
    let mut text = MARKER.to_owned();
    let mut hosts = endpoints;
    // The trust for the last host to try is at the top of the file.
    if endpoints.is_empty() {
        let _ = writeln!(text, "server = {}", quoted(&context.mirrors.server(host)));
        trust(context, host, "", &mut text);
    } else if let (true, Some((last, before))) = (context.never(), endpoints.split_last()) {
        hosts = before;
        let _ = writeln!(text, "server = {}", quoted(&context.mirrors.api_url(last)));
        text.push_str("capabilities = [\"pull\", \"resolve\"]\noverride_path = true\n");
        trust(context, &last.host, "", &mut text);
        if let Some(authorization) = context.authorization(&last.host) {
            let _ = write!(text, "\n[header]\n  Authorization = {}\n", quoted(&authorization));
        }
    }
    for endpoint in hosts {
        let url = quoted(&context.mirrors.api_url(endpoint));
        let _ = write!(text, "\n[host.{url}]\n");
        text.push_str("  capabilities = [\"pull\", \"resolve\"]\n  override_path = true\n");
        trust(context, &endpoint.host, "  ", &mut text);
        if let Some(authorization) = context.authorization(&endpoint.host) {
            let value = quoted(&authorization);
            let _ = write!(text, "  [host.{url}.header]\n    Authorization = {value}\n");
        }
    }
    if hosts.is_empty() {
        text.push_str("\n[host]\n");
    }
    // A directory has one CA file, that of its only host with a CA. A host without a mirror is
    // tried itself.
    let own = endpoints.is_empty().then_some(host);
    let mut tried = endpoints.iter().map(|endpoint| endpoint.host.as_str()).chain(own);
    if let Some(ca) = tried.find_map(|host| context.ca(host)) {
        printed.add(format!("{host}/ca.crt"), ca, false);
    }
    let secret = endpoints.iter().any(|endpoint| context.is_secret(&endpoint.host));
    printed.add(format!("{host}/hosts.toml"), text, secret);
}

fn trust(context: &RenderContext<'_>, host: &str, indent: &str, text: &mut String) {
    if context.insecure(host) {
        let _ = writeln!(text, "{indent}skip_verify = true");
    } else if context.ca(host).is_some() {
        let _ = writeln!(text, "{indent}ca = \"ca.crt\"");
    }
}
