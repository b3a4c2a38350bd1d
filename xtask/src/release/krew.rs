//! The manifest of the kubectl plugin, as krew reads it (`krew.googlecontainertools.github.com/v1alpha2`).

use std::fmt::Write as _;

use anyhow::Result;
use image_swap_testbed::oci::Platform;
use serde_json::json;

/// Returns the manifest. `archives` has platform, file name and SHA-256 sum of each archive
/// below `url`.
pub(super) fn manifest(url: &str, archives: &[(Platform, String, String)]) -> Result<String> {
    let name = super::NAME;
    let mut out = format!(
        "\
apiVersion: krew.googlecontainertools.github.com/v1alpha2
kind: Plugin
metadata:
  name: {name}
spec:
  version: v{}
  homepage: {}
  shortDescription: Pull every image from the company's own registry
  description: |
    Explains the image that a reference becomes, checks a declaration, renders the mirror
    configuration of container runtimes, rewrites manifests, and shows the status of a
    release of the chart {name}.
  platforms:
",
        super::VERSION,
        json!(url)
    );
    for (platform, file, sum) in archives {
        let address = json!(format!("{url}/{file}"));
        let Platform { os, architecture } = platform;
        write!(
            out,
            "\
    - selector:
        matchLabels:
          os: {os}
          arch: {architecture}
      uri: {address}
      sha256: {sum}
      files:
        - from: \"*/{name}\"
          to: .
        - from: \"*/LICENSE\"
          to: .
      bin: {name}
"
        )?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platform_names_its_archive() {
        let archives = [("linux/arm64".parse().unwrap(), "a.tar.gz".to_owned(), "00ff".to_owned())];
        let text = manifest("https://example.org/v1", &archives).unwrap();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for line in ["arch: arm64", "uri: \"https://example.org/v1/a.tar.gz\"", "sha256: 00ff"] {
            assert!(lines.contains(&line), "{line} in {text}");
        }
    }
}
