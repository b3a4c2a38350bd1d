//! The output of `helm template`, cut into manifests.

/// A manifest that Helm rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelmManifest {
    /// Path of the template: `image-swap/templates/clusterrole.yaml`.
    pub source: String,
    /// YAML of one document, without the separator and the source's comment.
    pub text: String,
}

/// Line that separates manifests, with the start of the next line.
const SEPARATOR: &str = "---\n# Source: ";

/// Splits the output of `helm template`. Helm writes one document a manifest.
pub(super) fn split(output: &str) -> Vec<HelmManifest> {
    let output = output.strip_prefix(SEPARATOR).unwrap_or_default();
    output
        .split(&format!("\n{SEPARATOR}"))
        .filter_map(|manifest| manifest.split_once('\n'))
        .map(|(source, text)| HelmManifest { source: source.to_owned(), text: text.to_owned() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_are_split_at_their_sources() {
        let text = "---\n# Source: a/templates/b.yaml\nkind: A\nx: |\n  ---\n\n\
                    ---\n# Source: a/templates/c.yaml\nkind: B\n";
        let found = split(text);
        let found: Vec<_> = found.iter().map(|it| (it.source.as_str(), it.text.as_str())).collect();
        let expected =
            [("a/templates/b.yaml", "kind: A\nx: |\n  ---\n"), ("a/templates/c.yaml", "kind: B\n")];
        assert_eq!(found, expected);
    }

    #[test]
    fn no_output_is_no_manifest() {
        assert_eq!(split(""), []);
    }
}
