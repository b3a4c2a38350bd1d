//! The manifest of the kubectl plugin, as krew reads it (`krew.googlecontainertools.github.com/v1alpha2`).

use anyhow::Result;
use image_swap_testbed::oci::Platform;
use serde_json::{Value, json};

/// The description that `kubectl krew info` shows.
const DESCRIPTION: &str = "\
Explains the image that a reference becomes, checks a declaration, renders the mirror
configuration of container runtimes, rewrites manifests, and shows the status of a release
of the chart image-swap.
";

/// Returns the manifest. `archives` has platform, file name and SHA-256 sum of each archive
/// below `url`.
pub(super) fn manifest(url: &str, archives: &[(Platform, String, String)]) -> Result<String> {
    let name = super::NAME;
    let platform = |(platform, file, sum): &(Platform, String, String)| -> Value {
        let Platform { os, architecture } = platform;
        json!({
            "selector": { "matchLabels": { "os": os, "arch": architecture } },
            "uri": format!("{url}/{file}"),
            "sha256": sum,
            "files": [
                { "from": format!("*/{name}"), "to": "." },
                { "from": "*/LICENSE", "to": "." },
            ],
            "bin": name,
        })
    };
    let manifest = json!({
        "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
        "kind": "Plugin",
        "metadata": { "name": name },
        "spec": {
            "version": format!("v{}", super::VERSION),
            "homepage": url,
            "shortDescription": "Pull every image from the company's own registry",
            "description": DESCRIPTION,
            "platforms": archives.iter().map(platform).collect::<Vec<_>>(),
        },
    });
    Ok(serde_saphyr::to_string(&manifest)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifest_lists_every_platform() {
        let archive = |platform: &str| {
            (platform.parse().unwrap(), format!("{}.tar.gz", &platform[6..]), "00ff".to_owned())
        };
        let archives = ["linux/amd64", "linux/arm64"].map(archive);
        let text = manifest("https://example.org/v1", &archives).unwrap();
        let read: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(read["metadata"]["name"], "image-swap");
        let spec = &read["spec"];
        assert_eq!(spec["description"], DESCRIPTION);
        assert_eq!(spec["version"], format!("v{}", env!("CARGO_PKG_VERSION")));
        let platforms = spec["platforms"].as_array().unwrap();
        assert_eq!(platforms.len(), 2);
        for (platform, architecture) in platforms.iter().zip(["amd64", "arm64"]) {
            assert_eq!(platform["selector"]["matchLabels"]["os"], "linux");
            assert_eq!(platform["selector"]["matchLabels"]["arch"], architecture);
            assert_eq!(platform["uri"], format!("https://example.org/v1/{architecture}.tar.gz"));
            assert_eq!(
                (&platform["sha256"], &platform["bin"]),
                (&"00ff".into(), &"image-swap".into())
            );
        }
    }

    #[test]
    fn sum_of_digits_is_text() {
        let digits = "1".repeat(64);
        let archives = [("linux/amd64".parse().unwrap(), "a".to_owned(), digits.clone())];
        let text = manifest("https://example.org/v1", &archives).unwrap();
        let read: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(read["spec"]["platforms"][0]["sha256"], digits);
    }
}
