//! OpenShift's mirror sets: one for digests, one for tags. The Machine Config
//! Operator writes `registries.conf` from them.
//!
//! Source: OpenShift, `config.openshift.io/v1`, `ImageDigestMirrorSet` and
//! `ImageTagMirrorSet`.

use std::fmt::Write as _;

use super::{
    Format, RenderContext, RenderedFile, RenderedParts,
    quote::{MARKER, quoted},
    registries_conf::{location, prefixes},
};
use crate::mirror::{Capabilities, Endpoint};

pub(super) const FORMAT: Format = Format {
    name: "openshift",
    about: "ImageDigestMirrorSet and ImageTagMirrorSet of OpenShift",
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
    let mut text = MARKER.to_owned();
    let policy = if told.never() { "NeverContactSource" } else { "AllowContactingSource" };
    for (kind, field) in
        [("ImageDigestMirrorSet", "imageDigestMirrors"), ("ImageTagMirrorSet", "imageTagMirrors")]
    {
        let _ = write!(
            text,
            "---\napiVersion: config.openshift.io/v1\nkind: {kind}\nmetadata:\n  name: image-swap\nspec:\n  {field}:\n"
        );
        // There is no default that leaving a source alone would have to undo.
        for (source, endpoints) in prefixes(told).iter().filter(|(_, list)| !list.is_empty()) {
            let _ = writeln!(text, "    - source: {}", quoted(source));
            mirrors(endpoints, policy, &mut text);
        }
    }
    let mut notes = vec![
        "creating an ImageTagMirrorSet drains and reboots nodes, and so does any later change",
    ];
    if told.registry.is_some_and(|registry| !registry.ca.is_empty() || registry.insecure) {
        notes.push("CA and INSECURE belong into image.config.openshift.io/cluster: additionalTrustedCA, insecureRegistries");
    }
    if told.registry.is_some_and(|registry| !registry.username.is_empty()) {
        notes.push("credentials belong into the cluster's global pull secret");
    }
    let file = RenderedFile { path: "image-swap-mirror-sets.yaml".to_owned(), text, secret: false };
    RenderedParts { files: vec![file], notes }
}

fn mirrors(endpoints: &[Endpoint], policy: &str, text: &mut String) {
    text.push_str("      mirrors:\n");
    for endpoint in endpoints {
        let _ = writeln!(text, "        - {}", quoted(&location(endpoint)));
    }
    let _ = writeln!(text, "      mirrorSourcePolicy: {policy}");
}
