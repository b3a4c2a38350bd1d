//! OpenShift's mirror sets: one for digests, one for tags. The Machine Config
//! Operator writes `registries.conf` from them.
//!
//! Source: OpenShift, `config.openshift.io/v1`, `ImageDigestMirrorSet` and
//! `ImageTagMirrorSet`.

use std::fmt::Write as _;

use super::{
    Format, RenderContext, Rendered,
    quote::{MARKER, quoted},
    registries_conf::prefixes,
};
use crate::mirror::{Capabilities, HOSTS_TOML};

pub(super) const FORMAT: Format = Format {
    name: "openshift",
    about: "ImageDigestMirrorSet and ImageTagMirrorSet of OpenShift",
    capabilities: Capabilities { paths: true, default: false, ..HOSTS_TOML },
    print,
};

fn print(context: &RenderContext<'_>, printed: &mut Rendered) {
    let mut text = MARKER.to_owned();
    let policy = if context.never() { "NeverContactSource" } else { "AllowContactingSource" };
    for (kind, field) in
        [("ImageDigestMirrorSet", "imageDigestMirrors"), ("ImageTagMirrorSet", "imageTagMirrors")]
    {
        let _ = write!(
            text,
            "---\napiVersion: config.openshift.io/v1\nkind: {kind}\nmetadata:\n  name: image-swap\nspec:\n  {field}:\n"
        );
        // There is no default, so an exempt source needs no entry.
        for (source, endpoints) in prefixes(context).iter().filter(|(_, list)| !list.is_empty()) {
            let _ = write!(text, "    - source: {}\n      mirrors:\n", quoted(source));
            for endpoint in endpoints {
                let _ = writeln!(text, "        - {}", quoted(&endpoint.below("")));
            }
            let _ = writeln!(text, "      mirrorSourcePolicy: {policy}");
        }
    }
    printed.notes.push("creating or changing an ImageTagMirrorSet drains and reboots nodes");
    if context.registry.is_some_and(|registry| !registry.ca.is_empty() || registry.insecure) {
        printed.notes.push("set CA and INSECURE in image.config.openshift.io/cluster: additionalTrustedCA, insecureRegistries");
    }
    if context.registry.is_some_and(|registry| !registry.username.is_empty()) {
        printed.notes.push("add credentials to the cluster's global pull secret");
    }
    printed.add("image-swap-mirror-sets.yaml", text, false);
}
