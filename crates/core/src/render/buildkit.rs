//! BuildKit's `buildkitd.toml`. Mirrors have no `/v2`, and BuildKit always tries the registry
//! itself last.
//!
//! Source: BuildKit, `docs/buildkitd.toml.md`.

use std::fmt::Write as _;

use super::{
    Format, RenderContext, Rendered,
    quote::{MARKER, list, quoted},
};
use crate::mirror::{Capabilities, HOSTS_TOML};

pub(super) const FORMAT: Format = Format {
    name: "buildkit",
    about: "buildkitd.toml of BuildKit",
    capabilities: Capabilities {
        default: false,
        never: Err("BuildKit tries the registry itself after its mirrors"),
        ..HOSTS_TOML
    },
    print,
};

fn print(context: &RenderContext<'_>, printed: &mut Rendered) {
    let mut text = MARKER.to_owned();
    for (host, endpoints) in context.mirrors.hosts().filter(|(_, endpoints)| !endpoints.is_empty())
    {
        let mirrors = list(endpoints.iter().map(|endpoint| endpoint.below("")));
        let _ = write!(text, "\n[registry.{}]\n  mirrors = {mirrors}\n", quoted(host));
    }
    for host in context.mirrors.targets() {
        let _ = write!(text, "\n[registry.{}]\n", quoted(host));
        if context.mirrors.scheme(host) == "http" {
            text.push_str("  http = true\n");
        }
        if context.insecure(host) {
            text.push_str("  insecure = true\n");
        } else if let Some(ca) = context.ca(host) {
            let path = format!("certs.d/{host}/ca.crt");
            let _ = writeln!(text, "  ca = [{}]", quoted(&["/etc/buildkit/", &path].concat()));
            printed.add(path, ca, false);
        }
    }
    printed.add("buildkitd.toml", text, false);
    printed.notes.push("BuildKit gets credentials from its client: log in there");
}
