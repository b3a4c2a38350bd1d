//! `buildkitd.toml`: mirrors are written without `/v2`, and the registry itself
//! is always asked last. Source: BuildKit, `docs/buildkitd.toml.md`.

use std::fmt::Write as _;

use super::{
    Format, RenderContext, RenderedFile, RenderedParts,
    quote::{MARKER, list, quoted},
};
use crate::mirror::{Capabilities, Endpoint};

pub(super) const FORMAT: Format = Format {
    name: "buildkit",
    about: "buildkitd.toml of BuildKit",
    words: Capabilities {
        paths: false,
        default: false,
        hosts: true,
        mirror_paths: true,
        never: Err("BuildKit asks the registry after its mirrors"),
    },
    print,
};

fn print(told: &RenderContext<'_>) -> RenderedParts {
    let mut printed = RenderedParts::default();
    let mut text = MARKER.to_owned();
    let location = |endpoint: &Endpoint| {
        let slash = if endpoint.path.is_empty() { "" } else { "/" };
        [&endpoint.host, slash, &endpoint.path].concat()
    };
    for (host, endpoints) in told.mirrors.hosts().filter(|(_, endpoints)| !endpoints.is_empty()) {
        let mirrors: Vec<String> = endpoints.iter().map(location).collect();
        let mirrors = list(mirrors.iter().map(String::as_str));
        let _ = write!(text, "\n[registry.{}]\n  mirrors = {mirrors}\n", quoted(host));
    }
    for host in told.mirrors.targets() {
        let _ = write!(text, "\n[registry.{}]\n", quoted(host));
        if told.mirrors.scheme(host) == "http" {
            text.push_str("  http = true\n");
        }
        if told.insecure(host) {
            text.push_str("  insecure = true\n");
        } else if let Some(ca) = told.ca(host) {
            let path = format!("certs.d/{host}/ca.crt");
            let _ = writeln!(text, "  ca = [{}]", quoted(&["/etc/buildkit/", &path].concat()));
            printed.files.push(RenderedFile { path, text: ca.to_owned(), secret: false });
        }
    }
    printed.files.push(RenderedFile { path: "buildkitd.toml".to_owned(), text, secret: false });
    printed.notes.push("BuildKit takes credentials from its client: log in there");
    printed
}
